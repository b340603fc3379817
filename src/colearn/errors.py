"""Every error colearn raises on purpose, in one tree.

::

    ColearnError
    ├── ConfigError              an option, a file or a setting cannot be used
    │   ├── InvalidRule          a voting rule that no group should run under
    │   └── MissingExtra         an optional package is not installed
    ├── LearnerError             a learner breaks the Machine Learning Interface
    │   ├── SchemaMismatch       tensors differ in name, dtype or shape
    │   └── UnsupportedModel     a model that cannot learn collectively (never, or not yet)
    ├── WeightsError             bytes or tensors that are not valid weights
    │   ├── WrongLength
    │   ├── WrongDigest
    │   ├── WrongHeader
    │   ├── WrongOrigin
    │   ├── WrongMerge
    │   ├── NotFinite
    │   └── UnusableWeights
    ├── RefusedEvent             the protocol does not allow this event now
    │   ├── NotAMember
    │   ├── NotYourTurn
    │   ├── WrongRound
    │   ├── AlreadyProposed
    │   ├── NoProposal
    │   ├── WrongProposal
    │   ├── ProposerMayNotVote
    │   ├── NotDrawn
    │   ├── AlreadyVoted
    │   ├── WrongPhase
    │   ├── NothingToReveal
    │   ├── WrongReveal
    │   ├── AlreadyEndorsed
    │   ├── InvalidChange
    │   └── TimeWentBack
    ├── LedgerError              a ledger that cannot be read or written
    │   └── CorruptLedger        a record that does not hold
    ├── StoreError
    │   ├── BlobMissing
    │   └── BlobCorrupt
    ├── BoardError
    │   ├── BadSignature
    │   └── Equivocation         one sender posted two different records in one place
    ├── PeerError                another member cannot be reached, or answers nonsense
    └── BudgetError              a privacy budget that cannot be used
        └── BudgetSpent          a release would cost more than is left

Each message says what failed, what it got, what it expected and what to do
next, in one line; the command line prints it as it is.
"""

from __future__ import annotations


class ColearnError(Exception):
    """Root of the tree: catch this to catch everything colearn raises on purpose."""


class ConfigError(ColearnError):
    """An option, a file or a setting cannot be used."""


class InvalidRule(ConfigError):
    """A voting rule that no group should run under."""


class MissingExtra(ConfigError):
    """An optional package is not installed; the message holds the install command."""

    def __init__(self, feature: str, package: str, extra: str) -> None:
        super().__init__(
            f"{feature} needs {package}, which is not installed: "
            f"pip install 'colearn-protocol[{extra}]'"
        )


class LearnerError(ColearnError):
    """A learner breaks the Machine Learning Interface."""


class SchemaMismatch(LearnerError):
    """Tensors differ in name, dtype or shape."""


class UnsupportedModel(LearnerError):
    """A model that cannot learn collectively; the message says never, or not yet."""


class WeightsError(ColearnError):
    """Bytes or tensors that are not valid weights."""


class WrongLength(WeightsError):
    """A blob is longer or shorter than its schema says."""


class WrongDigest(WeightsError):
    """A blob's content does not hash to the digest it was asked for by."""


class WrongHeader(WeightsError):
    """A blob's header is not the one the local schema gives."""


class NotFinite(WeightsError):
    """A tensor holds NaN or infinity."""


class WrongOrigin(WeightsError):
    """A proposal's record names another round, proposer or base than the ledger does."""


class WrongMerge(WeightsError):
    """A proposal's weights are not what its method makes of the updates it names."""


class UnusableWeights(WeightsError):
    """Weights of the right schema that the model cannot be set to, such as a tree with a cycle."""


class RefusedEvent(ColearnError):
    """The protocol does not allow this event now; the state is unchanged."""


class NotAMember(RefusedEvent):
    """The sender is not a member of the experiment."""


class NotYourTurn(RefusedEvent):
    """Only the round's proposer may propose or pass."""


class WrongRound(RefusedEvent):
    """The event names a round that is over, or one that has not begun."""


class AlreadyProposed(RefusedEvent):
    """The round already has its proposal."""


class NoProposal(RefusedEvent):
    """There is nothing to vote on yet."""


class WrongProposal(RefusedEvent):
    """The vote names another proposal than the round's."""


class ProposerMayNotVote(RefusedEvent):
    """The rule gives the proposer no vote on its own proposal."""


class NotDrawn(RefusedEvent):
    """The member is not of the committee that votes in the round."""


class AlreadyVoted(RefusedEvent):
    """One member, one vote a round."""


class WrongPhase(RefusedEvent):
    """Votes are open and cannot be committed to, or the other way round; or too early, too late."""


class NothingToReveal(RefusedEvent):
    """The member has no commitment that waits to be revealed."""


class WrongReveal(RefusedEvent):
    """Choice and salt are not those that the member committed to."""


class AlreadyEndorsed(RefusedEvent):
    """One member, one endorsement of a change."""


class InvalidChange(RefusedEvent):
    """A change of members or rule that would leave no valid experiment."""


class TimeWentBack(RefusedEvent):
    """The event's ledger time lies before the state's."""


class LedgerError(ColearnError):
    """A ledger that cannot be read or written."""


class CorruptLedger(LedgerError):
    """A ledger holds a record that does not follow from the ones before it."""


class StoreError(ColearnError):
    """A store cannot hold or give a blob."""


class BlobMissing(StoreError):
    """No blob with this digest is held."""


class BlobCorrupt(StoreError):
    """The bytes held under a digest are not the bytes that were put."""


class BoardError(ColearnError):
    """A board cannot carry a record."""


class BadSignature(BoardError):
    """A record does not bear the signature of the sender it names."""


class Equivocation(BoardError):
    """One sender posted two different records in one place."""


class PeerError(ColearnError):
    """Another member cannot be reached, or answers what the protocol does not allow."""


class BudgetError(ColearnError):
    """A privacy budget that cannot be used: lost, an older copy, of other data, unreadable."""


class BudgetSpent(BudgetError):
    """A release would cost more privacy than is left; nothing was charged."""
