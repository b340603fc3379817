"""The drivers of one member: its ledger, store, board, journal, opened from an agreement."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from http import HTTPStatus
from pathlib import Path
from typing import TYPE_CHECKING

from colearn.boards.local import LocalBoard
from colearn.course import Course
from colearn.errors import BlobMissing, ConfigError, LedgerError, PeerError
from colearn.experiment import Agreement, Place, check_outputs, check_schema, weights_beside
from colearn.journal import Journal
from colearn.ledgers.client import Depth
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.keys import Key
from colearn.ledgers.nodes import connect
from colearn.ledgers.signing import KeySigner
from colearn.methods import method
from colearn.ml_interface import MachineLearningInterface
from colearn.network import NOTES_FILE, Network
from colearn.participant import Participant
from colearn.peers.client import Peer
from colearn.peers.tls import Identity
from colearn.protocols import Board, Store
from colearn.records import PLAIN, Digest, Experiment
from colearn.silence import newcomer, unseen_through
from colearn.stores.directory import DirectoryStore
from colearn.stores.own import OwnObjects
from colearn.stores.retention import Tidied
from colearn.weights_store import WeightsStore

if TYPE_CHECKING:
    from web3 import Web3

    from colearn.stores.objects import ObjectStore

_log = logging.getLogger(__name__)
JOURNAL_FILE = "journal.sqlite"
OBJECTS_FILE = "objects.log"
STORE_FOLDER = "store"


@dataclass(frozen=True, kw_only=True)
class Chain:
    """The chain that an experiment is on.

    Attributes:
        rpc: URLs of its nodes.
        depth: Which blocks count, as of `EthereumLedger`.
    """

    rpc: Sequence[str]
    depth: Depth = 0


def place_of(agreement: Agreement) -> Place:
    """Where the contract is.

    Raises:
        ConfigError: The agreement does not say it.
    """
    if agreement.contract is None:
        raise ConfigError(
            "the experiment is on no chain yet: put it there with colearn deploy, "
            "or get the file from whoever did"
        )
    return agreement.contract


def open_ledger(
    agreement: Agreement, chain: Chain, keys: Mapping[str, bytes] | None = None
) -> EthereumLedger:
    """Open the contract that an agreement names.

    Args:
        agreement: What the members agreed on.
        chain: The contract's chain.
        keys: Private keys by address; None to only read.

    Raises:
        ConfigError: The agreement names no contract.
        LedgerError: The nodes cannot be reached, are of another chain, or the contract
            is another experiment's.
    """
    place = place_of(agreement)
    return EthereumLedger(
        agreement.experiment,
        keys or {},
        chain=connected(place, chain),
        address=place.address,
        first_block=place.first_block,
        depth=chain.depth,
    )


def connected(place: Place, chain: Chain) -> Web3:
    """Give access to a contract's chain.

    Raises:
        LedgerError: No node answers, or they are another chain's.
    """
    web3 = connect(chain.rpc)
    found = web3.eth.chain_id
    if place.chain_id not in (None, found):
        raise LedgerError(
            f"the chain at {chain.rpc[0]} is number {found}, but the experiment is on "
            f"{place.chain_id}: name a node of that one with --rpc"
        )
    return web3


def deploy(experiment: Experiment, payer: Key, chain: Chain) -> Place:
    """Put an experiment's contract on a chain.

    Args:
        experiment: What the members agreed on.
        payer: The key of who pays; it need not be a member's.
        chain: The chain.

    Raises:
        ConfigError: A member's name is no address.
        LedgerError: The chain did not take it.
    """
    ledger = EthereumLedger.found(
        experiment, {payer.address: payer}, chain=connect(chain.rpc), depth=chain.depth
    )
    return Place(address=ledger.address, chain_id=ledger.chain_id, first_block=ledger.first_block)


def open_store(folder: Path) -> DirectoryStore:
    """Open the blobs in the folder of a member."""
    return DirectoryStore(folder / STORE_FOLDER)


@dataclass(frozen=True, kw_only=True)
class Connection:
    """How a member is reached by the others, and reaches them.

    Attributes:
        host: The interface to listen on; beyond loopback only with an identity.
        port: The port to listen on; 0 for one that is free.
        url: Where others reach this member, if not at that host and port.
        peers: URLs of other members, as many as are known.
        identity: This member's certificate and whom it trusts; None on loopback.
        bucket: URL of an object store in which all members meet instead of all that;
            None where they reach each other.
    """

    host: str = "127.0.0.1"
    port: int = 0
    url: str | None = None
    peers: tuple[str, ...] = ()
    identity: Identity | None = None
    bucket: str | None = None


@dataclass(frozen=True, kw_only=True)
class Member:
    """A member whose drivers are open.

    Attributes:
        participant: What takes part.
        weights: Its weights.
        own: The blobs that it keeps, on its disk or in a bucket.
        network: What other members reach; None where they meet in a bucket.
        url: Where others find what this member has.
    """

    participant: Participant
    weights: WeightsStore
    own: Tidied
    network: Network | None
    url: str


@contextmanager
def open_member(
    agreement: Agreement,
    path: Path,
    learner: MachineLearningInterface,
    *,
    key: Key,
    chain: Chain,
    folder: Path,
    connection: Connection,
) -> Iterator[Member]:
    """Open a member's drivers, and close them in the end.

    Args:
        agreement: What the members agreed on.
        path: The file that says so; M₀ may lie beside it.
        learner: The member's learner.
        key: The member's private key.
        chain: The contract's chain.
        folder: Where the member keeps its journal, notes and blobs.
        connection: How it is reached.

    Raises:
        ConfigError: The key is no member's, or something here cannot be used.
        SchemaMismatch: The learner is not the experiment's.
        LedgerError: The chain cannot be read, or the contract is another experiment's.
    """
    me = key.address
    ledger = open_ledger(agreement, chain, {me: key})
    if me not in ledger.view().members:
        raise ConfigError(
            f"{me} is no member of this experiment: the others can let it in, "
            "by colearn members add"
        )
    make_folder(folder)
    with ExitStack() as opened:
        silent_through = None
        if not (folder / JOURNAL_FILE).exists():
            if (folder / NOTES_FILE).exists():
                silent_through = ledger.view().round
            elif connection.bucket is not None:
                silent_through = _unseen_through(agreement, ledger, chain)
        journal = Journal(
            folder / JOURNAL_FILE, ledger.experiment, me, silent_through=silent_through
        )
        opened.callback(journal.close)
        signer = KeySigner({me: key}, ledger.chain_id, ledger.address)
        network = None
        own: DirectoryStore | OwnObjects
        board: Board
        shared: Store
        if connection.bucket is None:
            own = open_store(folder)
            network = opened.enter_context(
                Network(
                    me,
                    ledger,
                    own,
                    signer=signer,
                    seeds=connection.peers,
                    folder=folder,
                    host=connection.host,
                    port=connection.port,
                    url=connection.url,
                    identity=connection.identity,
                )
            )
            url, board, shared = network.url, network.board, network.store
        else:
            url = connection.bucket
            kept = opened.enter_context(LocalBoard(ledger.experiment, folder / NOTES_FILE))
            objects, board = _in_bucket(ledger, kept, signer, url)
            shared = own = opened.enter_context(OwnObjects(objects, folder / OBJECTS_FILE))
        agreement.put_initial(own, path)
        weights = WeightsStore(shared, agreement.schema)
        _begin(agreement, path, learner, weights)
        course = None
        if agreement.method != PLAIN:
            course = Course(method(agreement.method), ledger, weights, signer)
        participant = Participant(
            me,
            learner,
            ledger=ledger,
            weights=weights,
            seed=agreement.seed,
            board=board,
            course=course,
            signer=signer,
            journal=journal,
            met_before=newcomer if network is None else network.met_before,
        )
        yield Member(participant=participant, weights=weights, own=own, network=network, url=url)


def _unseen_through(agreement: Agreement, ledger: EthereumLedger, chain: Chain) -> int | None:
    """Through which round to be silent where nobody can be asked, but a bucket has the notes."""
    counted = newest = ledger.view()
    if chain.depth != 0:
        newest = open_ledger(agreement, replace(chain, depth=0)).view()
    elif not counted.rule.reveal_seconds:
        return None
    through = unseen_through(counted, newest)
    if through is not None:
        _log.warning(
            "no journal here, and round %d has a proposal: this member is silent there, for it "
            "could not see that it has committed or voted",
            through,
        )
    return through


def _in_bucket(
    ledger: EthereumLedger, kept: LocalBoard, signer: KeySigner, url: str
) -> tuple[ObjectStore, Board]:
    """Objects and board of members that meet in an object store."""
    from colearn.boards.objects import ObjectBoard  # noqa: PLC0415 - an extra of its own
    from colearn.peers.bucket import bucket  # noqa: PLC0415
    from colearn.stores.objects import ObjectStore  # noqa: PLC0415

    opened = bucket(url)
    board = ObjectBoard(
        opened,
        kept,
        experiment=ledger.experiment,
        view=ledger.view,
        signer=signer,
    )
    return ObjectStore(opened), board


def open_blobs(where: str) -> Store:
    """Open blobs to read: the folder that a member keeps, or a bucket by its URL.

    Raises:
        ConfigError: There is no such thing.
    """
    if "://" in where:
        from colearn.peers.bucket import bucket  # noqa: PLC0415 - an extra of its own
        from colearn.stores.objects import ObjectStore  # noqa: PLC0415

        return ObjectStore(bucket(where))
    folder = Path(where)
    if not (folder / STORE_FOLDER).is_dir():
        raise ConfigError(
            f"{folder} holds no blobs: name the folder that colearn join keeps, "
            f"in which {STORE_FOLDER} is"
        )
    return open_store(folder)


def without(network: Network, members: Sequence[str], blob: Digest) -> tuple[str, ...]:
    """Which other members cannot be seen to hold a blob."""
    peers = network.book.peers()
    return tuple(
        member
        for member in members
        if member != network.book.member and not (member in peers and _holds(peers[member], blob))
    )


def _holds(peer: Peer, blob: Digest) -> bool:
    try:
        return peer.ask("HEAD", f"/blobs/{blob}").status == HTTPStatus.OK
    except PeerError:
        return False


def make_folder(folder: Path) -> None:
    """Make a folder for a member's files; that it is there already is no error.

    Raises:
        ConfigError: It cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as reason:
        raise ConfigError(f"folder {folder} cannot be made: {reason.strerror}") from None


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
