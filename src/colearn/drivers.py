"""The drivers of one member: its ledger, store, board, journal, opened from an agreement."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from web3 import Web3

from colearn.errors import BlobMissing, ConfigError
from colearn.experiment import Agreement, Place, check_outputs, check_schema, weights_beside
from colearn.journal import Journal
from colearn.ledgers.client import reported
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ml_interface import MachineLearningInterface
from colearn.participant import Participant
from colearn.records import Experiment
from colearn.stores.directory import DirectoryStore
from colearn.weights_store import WeightsStore

JOURNAL_FILE = "journal.sqlite"
STORE_FOLDER = "store"


def open_ledger(
    agreement: Agreement, rpc: Sequence[str], keys: Mapping[str, bytes]
) -> EthereumLedger:
    """Open the contract that an agreement names.

    Args:
        agreement: What the members agreed on.
        rpc: URLs of nodes of the contract's chain.
        keys: Private keys by address; none to only read.

    Raises:
        ConfigError: The agreement names no contract.
        LedgerError: The nodes cannot be reached, are of another chain, or the contract
            is another experiment's.
    """
    place = agreement.contract
    if place is None:
        raise ConfigError(
            "the experiment is on no chain yet: put it there with colearn deploy, "
            "or get the file from whoever did"
        )
    chain = connect(rpc)
    return EthereumLedger(
        agreement.experiment,
        keys,
        chain=chain,
        address=place.address,
        first_block=place.first_block,
    )


def deploy(experiment: Experiment, keys: Mapping[str, bytes], rpc: Sequence[str]) -> Place:
    """Put an experiment's contract on a chain.

    Args:
        experiment: What the members agreed on.
        keys: The private key of who pays, by its address.
        rpc: URLs of nodes of the chain.

    Raises:
        ConfigError: A member's name is no address.
        LedgerError: The chain did not take it.
    """
    chain = connect(rpc)
    with reported():
        first_block, chain_id = chain.eth.block_number, chain.eth.chain_id
    ledger = EthereumLedger.found(experiment, keys, chain=chain)
    return Place(address=ledger.address, chain_id=chain_id, first_block=first_block)


def connect(rpc: Sequence[str]) -> Web3:
    """Connect to a node."""
    return Web3(Web3.HTTPProvider(rpc[0]))


def open_store(folder: Path) -> DirectoryStore:
    """Open the blobs in the folder of a member."""
    return DirectoryStore(folder / STORE_FOLDER)


@contextmanager
def open_participant(
    agreement: Agreement,
    path: Path,
    learner: MachineLearningInterface,
    *,
    me: str,
    key: bytes,
    rpc: Sequence[str],
    folder: Path,
    shared: Path | None = None,
) -> Iterator[tuple[Participant, WeightsStore]]:
    """Open a member's drivers, and close them in the end.

    Args:
        agreement: What the members agreed on.
        path: The file that says so; M₀ may lie beside it.
        learner: The member's learner.
        me: The member's address.
        key: Its private key.
        rpc: URLs of nodes.
        folder: Where the member keeps its journal and its blobs.
        shared: A folder of blobs that all members see, instead of one's own.
    """
    ledger = open_ledger(agreement, rpc, {me: key})
    folder.mkdir(parents=True, exist_ok=True)
    store = DirectoryStore(shared or folder / STORE_FOLDER)
    agreement.put_initial(store, path)
    weights = WeightsStore(store, agreement.schema)
    _begin(agreement, path, learner, weights)
    journal = Journal(folder / JOURNAL_FILE, agreement.experiment, me, silent_through=-1)
    try:
        yield (
            Participant(
                me,
                learner,
                ledger=ledger,
                weights=weights,
                seed=agreement.seed,
                journal=journal,
            ),
            weights,
        )
    finally:
        journal.close()


def _begin(
    agreement: Agreement, path: Path, learner: MachineLearningInterface, weights: WeightsStore
) -> None:
    """Let the learner hold M₀, and check that it is then what the members agreed on."""
    check_schema(agreement, learner)
    try:
        learner.mli_accept_weights(weights.get(agreement.experiment.initial))
    except BlobMissing:
        raise ConfigError(
            f"M₀ is missing: {weights_beside(path)} has to lie beside {path}; "
            "get both files from whoever wrote them"
        ) from None
    check_outputs(agreement, learner)
