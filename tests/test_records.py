"""Records have one canonical form, and nothing else is read."""

from __future__ import annotations

import json
import math
from fractions import Fraction

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from colearn.errors import ConfigError, InvalidRule
from colearn.records import (
    WIRE_VERSION,
    AddMember,
    Choice,
    Commit,
    Endorse,
    Entry,
    Experiment,
    Pass,
    Proposal,
    Propose,
    RemoveMember,
    ReplaceMember,
    Reveal,
    Rotate,
    Rule,
    Scores,
    SetRule,
    Vote,
    decode,
    digest_of,
    encode,
)

texts = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
counts = st.integers(0, 2**63 - 1)
digests = st.binary(max_size=4).map(lambda raw: digest_of([raw]))
shares = st.builds(Fraction, st.integers(1, 99), st.just(100))
scores = st.none() | st.floats(allow_nan=False, allow_infinity=False)
common = {
    "threshold": shares,
    "inclusive": st.booleans(),
    "quorum": shares,
    "propose_seconds": st.integers(1, 2**26 - 1),
    "vote_seconds": st.integers(1, 2**26 - 1),
    "governance": st.sampled_from([Fraction(1, 2), Fraction(2, 3), Fraction(65_534, 65_535)]),
}
rules = st.builds(Rule, committee=st.integers(2, 65_535), **common) | st.builds(
    Rule, proposer_votes=st.booleans(), reveal_seconds=st.integers(0, 2**26 - 1), **common
)
changes = st.one_of(
    st.builds(AddMember, texts),
    st.builds(RemoveMember, texts),
    st.builds(ReplaceMember, texts, texts),
    st.builds(SetRule, rules),
)
events = st.one_of(
    st.builds(Propose, counts, texts, digests),
    st.builds(Pass, counts, texts),
    st.builds(Vote, counts, texts, digests, st.sampled_from(Choice)),
    st.builds(Commit, counts, texts, digests, digests),
    st.builds(Reveal, counts, texts, st.sampled_from(Choice), digests),
    st.builds(Endorse, texts, changes),
    st.builds(Rotate, texts, texts),
)
records = st.one_of(
    rules,
    events,
    st.builds(Entry, counts, events),
    st.builds(Scores, counts, texts, scores, scores),
    st.builds(
        Proposal,
        round=counts,
        sender=texts,
        base=digests,
        weights=digests,
        size_bytes=counts,
        dims=st.dictionaries(texts, counts, max_size=3),
    ),
    st.builds(
        Experiment,
        members=st.lists(
            texts.filter(lambda name: name and name.isprintable()),
            min_size=2,
            max_size=5,
            unique=True,
        ).map(tuple),
        initial=digests,
        schema=digests,
        rule=rules,
    ),
)


@given(records)
def test_every_record_reads_back_as_itself(record: msgspec.Struct) -> None:
    """Encoding and decoding lose nothing, from bytes and from any view of them."""
    raw = encode(record)
    assert decode(raw, type(record)) == record
    assert decode(memoryview(raw), type(record)) == record
    assert encode(decode(bytearray(raw), type(record))) == raw


@given(records)
def test_there_is_one_canonical_form(record: msgspec.Struct) -> None:
    """The same JSON with white space, or with its fields in another order, is refused."""
    raw = encode(record)
    plain = json.loads(raw)
    spaced = json.dumps(plain, ensure_ascii=False).encode()
    turned = msgspec.json.encode(dict(reversed(plain.items())))
    for other in (spaced, turned, raw + b" ", b"\n" + raw):
        assert other != raw
        with pytest.raises(ConfigError):
            decode(other, type(record))


@given(records, st.data())
def test_fields_missing_or_unknown_are_refused(record: msgspec.Struct, data: st.DataObject) -> None:
    """A record says all it has to say and no more; a default is not filled in on reading."""
    plain = json.loads(encode(record))
    name = data.draw(st.sampled_from(sorted(plain)))
    for wrong in (
        {**plain, "more": 1},
        {key: value for key, value in plain.items() if key != name},
        {**plain, "kind": "other"},
    ):
        with pytest.raises(ConfigError):
            decode(msgspec.json.encode(wrong), type(record))


@given(records, st.data())
def test_changed_bytes_are_another_record_or_none(
    record: msgspec.Struct, data: st.DataObject
) -> None:
    """Any byte changed gives a record that differs or a ConfigError of one line; never else."""
    raw = bytearray(encode(record))
    position = data.draw(st.integers(0, len(raw) - 1))
    before = raw[position]
    raw[position] = data.draw(st.integers(0, 255))
    try:
        other = decode(raw, type(record))
    except ConfigError as reason:
        refusal = str(reason)
    else:
        refusal = ""
        assert (other == record) == (raw[position] == before)
    assert "\n" not in refusal


@given(st.binary(max_size=60), st.sampled_from([Rule, Experiment, Entry, Proposal, Scores]))
@example(b"", Entry)
@example(b"[" * 10_000, Entry)
@example(b'{"kind":"entry","time":' + b"9" * 5000 + b"}", Entry)
@example(b'{"kind":"entry","time":1e400}', Entry)
@example(b"\xed\xa0\x80", Scores)
@example(b"null", Rule)
def test_garbage_is_refused(raw: bytes, kind: type[msgspec.Struct]) -> None:
    """Whatever bytes come, the answer is a ConfigError."""
    with pytest.raises(ConfigError):
        decode(raw, kind)


@pytest.mark.parametrize("version", [WIRE_VERSION - 1, WIRE_VERSION + 1, -1])
@pytest.mark.parametrize(
    "record",
    [
        Experiment(members=("a", "b"), initial="0", schema="0"),
        Proposal(round=0, sender="", base="", weights="0", size_bytes=0),
    ],
)
def test_another_wire_version_is_refused(version: int, record: msgspec.Struct) -> None:
    """A record of another version says which one reads it."""
    raw = encode(record).replace(
        f'"version":{WIRE_VERSION}'.encode(), f'"version":{version}'.encode()
    )
    with pytest.raises(ConfigError, match=rf"wire version {version}; .* use the release"):
        decode(raw, type(record))


def test_a_newer_version_is_named_before_its_new_fields() -> None:
    """A record of the future is refused for its version, not for what it adds."""
    newer = WIRE_VERSION + 1
    raw = f'{{"kind":"proposal","version":{newer},"shape":"unheard of"}}'.encode()
    with pytest.raises(ConfigError, match=f"wire version {newer}"):
        decode(raw, Proposal)


@pytest.mark.parametrize("share", ["1/0", "1e30000000", "1e-400000000000", "2", "-1/2", "1/99999"])
def test_a_hostile_share_on_the_wire_is_refused_at_once(share: str) -> None:
    """No share can crash or stall a reader."""
    raw = encode(Rule()).replace(b'"1/2"', f'"{share}"'.encode())
    with pytest.raises(ConfigError):
        decode(raw, Rule)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        ({"threshold": 0}, "must be above 0"),
        ({"threshold": -1}, "must be above 0"),
        ({"threshold": 1}, "set inclusive=True"),
        ({"threshold": "3/2", "inclusive": True}, "at most 1"),
        ({"threshold": "most"}, "not a fraction"),
        ({"threshold": "1/0"}, "not a fraction"),
        ({"threshold": math.nan}, "not a fraction"),
        ({"threshold": "1e-400000000000"}, "not a fraction"),
        ({"threshold": "9" * 100_000}, "not a fraction"),
        ({"threshold": math.inf}, "not a fraction"),
        ({"threshold": math.pi}, "denominator of at most 65535"),
        ({"quorum": -0.1}, "between 0 and 1"),
        ({"quorum": 1.1}, "between 0 and 1"),
        ({"governance": "1/3"}, "at least 1/2 and below 1"),
        ({"governance": 1}, "at least 1/2 and below 1"),
        ({"vote_seconds": 0}, "whole number of seconds"),
        ({"propose_seconds": 1.5}, "whole number of seconds"),
        ({"vote_seconds": True}, "whole number of seconds"),
        ({"vote_seconds": 2**26}, "at most 67,108,863"),
        ({"propose_seconds": 10**100}, "at most 67,108,863"),
        ({"reveal_seconds": 2**32 + 5}, "at most 67,108,863"),
    ],
)
def test_a_rule_that_no_group_should_run_under_is_refused(
    options: dict[str, object], why: str
) -> None:
    """Each bad rule gets one line that says what is wrong."""
    with pytest.raises(InvalidRule, match=why):
        Rule(**options)  # type: ignore[arg-type]


def test_numbers_mean_what_they_print() -> None:
    """0.6 is 3/5 and not the float's binary value; text and fractions are exact."""
    assert Rule(threshold=0.6).threshold == Fraction(3, 5)  # type: ignore[arg-type]
    assert Rule(threshold="2/3").threshold == Fraction(2, 3)  # type: ignore[arg-type]
    assert Rule(threshold=Fraction(1, 3)).threshold == Fraction(1, 3)
    assert Rule(threshold=1, inclusive=True).threshold == 1  # type: ignore[arg-type]


def test_a_fraction_is_written_in_lowest_terms_only() -> None:
    """4/6 is the same share as 2/3 but not its canonical form."""
    raw = encode(Rule(threshold=Fraction(2, 3)))
    with pytest.raises(ConfigError, match="canonical"):
        decode(raw.replace(b'"threshold":"2/3"', b'"threshold":"4/6"'), Rule)


@pytest.mark.parametrize(
    "members",
    [(), ("a",), ("a", "a"), ("a", ""), tuple(str(number) for number in range(4_097))],
)
def test_an_experiment_has_two_to_4096_distinct_members(members: tuple[str, ...]) -> None:
    """Nobody judges alone, twice or without a name; 4,096 are still fine."""
    with pytest.raises(ConfigError):
        Experiment(members=members, initial="0", schema="0")
    Experiment(members=tuple(str(number) for number in range(4_096)), initial="0", schema="0")


def test_records_are_frozen() -> None:
    """A record cannot be changed once it is made."""
    with pytest.raises(AttributeError):
        Pass(0, "a").round = 1  # type: ignore[misc]


def test_parts_hash_as_one_run_of_bytes() -> None:
    """A digest depends on the bytes, not on how they are cut; this is blake3's own."""
    empty = "af1349b9f5f9a1a6a0404dea36dcc9499bcb25c9adc112b7cc9a93cae41f3262"
    assert digest_of([]) == digest_of([b""]) == empty
    assert digest_of([b"ab", bytearray(b"c")]) == digest_of([memoryview(b"abc")])
