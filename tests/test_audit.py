"""The auditor finds every change, and a consistent rewrite when it knows the head."""

from __future__ import annotations

import shutil

import pytest
from toys import Scripted, seekers

from colearn import Collective
from colearn.audit import audit
from colearn.collective import LEDGER_FILE, STORE_FOLDER
from colearn.course import Course
from colearn.errors import (
    BlobCorrupt,
    BlobMissing,
    ColearnError,
    ConfigError,
    CorruptLedger,
    WrongMerge,
    WrongOrigin,
)
from colearn.log import FIRST
from colearn.records import digest_of
from colearn.report.files import write_weights


@pytest.fixture
def folder(tmp_path):
    """A small run: one round accepted, one rejected, one passed, and the model exported."""
    learners = [
        Scripted([False, True]),
        Scripted([True, True]),
        Scripted([True, False], stride=float("nan")),
    ]
    with Collective(learners, folder=tmp_path / "run") as collective:
        result = collective.run(3)
    assert [each.row.decision for each in result.rounds] == ["accepted", "rejected", "expired"]
    write_weights(tmp_path / "run", result.weights)
    return tmp_path / "run"


def blobs(folder):
    """All blob files of a run."""
    return sorted(path for path in (folder / STORE_FOLDER).rglob("*") if path.is_file())


def rewrite(folder, lines):
    """Write ledger lines with their hashes made consistent."""
    head, out = FIRST, []
    for line in lines:
        record = line.split(b" ", 1)[1].rstrip(b"\n")
        head = digest_of((head.encode(), b" ", record))
        out.append(head.encode() + b" " + record + b"\n")
    (folder / LEDGER_FILE).write_bytes(b"".join(out))


def test_counts_what_it_verified(folder):
    """The figures are those of the run."""
    found = audit(folder)
    assert found.decisions == {"accepted": 1, "rejected": 1, "expired": 1}
    assert (found.records, found.votes, found.proposals) == (1 + 2 + 2 + 3, 4, 3)
    assert audit(folder, head=found.head) == found


def test_changes_nothing(folder):
    """An audit leaves every byte of the run as it was."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    audit(folder)
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before


def test_every_changed_byte_of_the_ledger_is_found(folder):
    """Whichever byte of the ledger is changed, the audit ends with an error of ours."""
    path = folder / LEDGER_FILE
    original = path.read_bytes()
    for position in range(len(original)):
        changed = bytearray(original)
        changed[position] ^= 1 << position % 8
        path.write_bytes(changed)
        with pytest.raises(CorruptLedger):
            audit(folder)


def test_every_removed_byte_of_the_ledger_is_found(folder):
    """A ledger cut short inside a record is no whole ledger."""
    path = folder / LEDGER_FILE
    original = path.read_bytes()
    ends = {index + 1 for index, byte in enumerate(original) if byte == ord("\n")}
    for length in set(range(1, len(original))) - ends:
        path.write_bytes(original[:length])
        with pytest.raises(CorruptLedger):
            audit(folder)


def test_every_changed_byte_of_a_blob_is_found(folder):
    """Schema, proposals and weights: whichever byte is changed, the audit names the blob."""
    for path in blobs(folder):
        original = path.read_bytes()
        path.chmod(0o644)
        for position in range(len(original)):
            changed = bytearray(original)
            changed[position] ^= 1
            path.write_bytes(changed)
            with pytest.raises(BlobCorrupt, match=path.name[:12]):
                audit(folder)
        path.write_bytes(original)
    audit(folder)


def test_every_missing_blob_is_found(folder):
    """No blob that the ledger speaks of may be gone."""
    for path in blobs(folder):
        moved = path.rename(folder / "elsewhere")
        with pytest.raises(BlobMissing, match=path.name[:12]):
            audit(folder)
        moved.rename(path)


def test_a_changed_export_is_found(folder):
    """The exported model must be the one accepted last."""
    path = folder / "weights.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(BlobCorrupt, match="accepted last"):
        audit(folder)


@pytest.mark.parametrize("kept", [1, 3, -1])
def test_a_ledger_cut_at_a_record_is_found_by_its_head(folder, kept):
    """Records cut off the end can only be found by who knows the head."""
    head = audit(folder).head
    path = folder / LEDGER_FILE
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[:kept]))
    (folder / "weights.safetensors").unlink()
    audit(folder)
    with pytest.raises(CorruptLedger, match="its head is"):
        audit(folder, head=head)


def test_a_consistent_rewrite_is_found_by_its_head(folder):
    """A late vote turned round, all hashes made anew: legal, but not the reported head."""
    head = audit(folder).head
    lines = (folder / LEDGER_FILE).read_bytes().splitlines(keepends=True)
    index = max(i for i, line in enumerate(lines) if b'"reject"' in line)
    lines[index] = lines[index].replace(b'"reject"', b'"abstain"')
    rewrite(folder, lines)
    audit(folder)
    with pytest.raises(CorruptLedger, match="its head is"):
        audit(folder, head=head)


def test_an_illegal_rewrite_is_found_without_the_head(folder):
    """A vote repeated under consistent hashes is refused by the rules, by record number."""
    lines = (folder / LEDGER_FILE).read_bytes().splitlines(keepends=True)
    rewrite(folder, [*lines[:3], lines[2], *lines[3:]])
    with pytest.raises(CorruptLedger, match="record 4 .*has voted"):
        audit(folder)


def test_another_proposal_under_a_record_is_found(folder):
    """A proposal record moved to another round says itself where it belongs."""
    lines = (folder / LEDGER_FILE).read_bytes().splitlines(keepends=True)
    proposals = [line.split(b'"proposal":"')[1][:64] for line in lines if b'"propose"' in line]
    swapped = [line.replace(proposals[0], proposals[1]) for line in lines[:4]]
    rewrite(folder, swapped)
    with pytest.raises(WrongOrigin, match="record 2 .*round 1"):
        audit(folder)


@pytest.mark.parametrize("head", ["zz", "AB" * 32, "12ab"])
def test_a_head_that_is_none_is_no_accusation(folder, head):
    """A typing error in the head is told apart from a changed ledger."""
    with pytest.raises(ConfigError, match="64 digits"):
        audit(folder, head=head)


def test_a_folder_without_a_run_is_one_line(tmp_path):
    """A wrong folder is a ConfigError, and no folder is made."""
    with pytest.raises(ConfigError, match="holds no run"):
        audit(tmp_path / "nowhere")
    assert not (tmp_path / "nowhere").exists()


def test_a_store_replaced_by_another_runs_is_found(folder, tmp_path):
    """Blobs of another run do not stand in for this one's."""
    shutil.rmtree(folder / STORE_FOLDER)
    learners = [Scripted([True], size=5), Scripted([True], size=5)]
    with Collective(learners, folder=tmp_path / "other") as other:
        other.run(1)
    shutil.copytree(tmp_path / "other" / STORE_FOLDER, folder / STORE_FOLDER)
    with pytest.raises(ColearnError):
        audit(folder)


def test_merges_are_made_again(tmp_path):
    """Each accepted proposal is recomputed from the updates it names, and nothing is written."""
    with Collective(seekers(), folder=tmp_path, method="average") as collective:
        accepted = collective.run(6).accepted
    before = sorted(path for path in tmp_path.rglob("*"))
    assert audit(tmp_path).merges == accepted > 0
    assert sorted(path for path in tmp_path.rglob("*")) == before


def test_a_merge_that_all_members_lied_about_is_found(tmp_path, monkeypatch):
    """Even if every member approved it, weights that the updates do not give are named."""
    honest = Course.merge

    def shifted(course, updates):
        return {name: tensor + 1e-9 for name, tensor in honest(course, updates).items()}

    monkeypatch.setattr(Course, "merge", shifted)
    with Collective(seekers(), folder=tmp_path, method="average") as collective:
        assert collective.run(6).accepted
    monkeypatch.undo()
    with pytest.raises(WrongMerge, match="merge to"):
        audit(tmp_path)


def test_an_update_that_is_gone_is_missed(tmp_path):
    """Without an update's bytes its merge cannot be made again, and the audit says so."""
    with Collective(seekers(), folder=tmp_path, method="average") as collective:
        result = collective.run(6)
        accepted = next(each for each in result.rounds if each.accepted)
        update = collective._weights.proposal(accepted.model).merged[1].weights
    next(tmp_path.rglob(update)).unlink()
    with pytest.raises(BlobMissing, match=update[:12]):
        audit(tmp_path)
