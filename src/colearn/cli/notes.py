"""What members of this machine have signed in the live round, as any of them tells."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from colearn.errors import ColearnError, ConfigError, PeerError
from colearn.peers.client import Peer
from colearn.protocols import Signer
from colearn.records import Ballot, Candidate, Note, Update, decode_note

_ASK_SECONDS = 2.0
_SAID: dict[type[Note], str] = {Update: "trained", Candidate: "proposed", Ballot: "voted"}


def signed(urls: Iterable[str], round_index: int, signer: Signer) -> dict[str, set[str]]:
    """Read the notes of a round from whoever is reached without a certificate.

    Args:
        urls: Where members are; who is not on loopback, or does not answer, is left out.
        round_index: The round.
        signer: Checks the notes; those that do not bear their senders' signatures are
            left out.

    Returns:
        By member, what it has done: trained, proposed, voted.
    """
    done: dict[str, set[str]] = {}
    for url in urls:
        for note in _notes(url, round_index):
            if isinstance(note, Update | Candidate | Ballot) and note.round == round_index:
                try:
                    signer.check(note)
                except ColearnError:
                    continue
                done.setdefault(note.sender, set()).add(_SAID[type(note)])
    return done


def _notes(url: str, round_index: int) -> Iterator[Note]:
    try:
        peer = Peer(url)
        answer = peer.ask("GET", f"/notes/{round_index}", seconds=_ASK_SECONDS)
        peer.close()
        for line in answer.body.splitlines() if answer.status == 200 else []:
            yield decode_note(line)
    except (ConfigError, PeerError):
        return
