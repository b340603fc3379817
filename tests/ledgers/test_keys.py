"""Keys: kept encrypted, read back, and never shown."""

from __future__ import annotations

import io
import json
import logging
import pprint
import stat
import sys
import traceback

import pytest
from eth_account import Account

from colearn.errors import BadSignature, ColearnError, ConfigError
from colearn.ledgers import keys
from colearn.ledgers.ethereum import EthereumLedger
from colearn.ledgers.keys import Key, new_key, open_key, passphrase_of, read_key, write_key
from colearn.ledgers.signing import KeySigner
from colearn.records import Ballot, Choice, Experiment, Pass, digest_of

PASSPHRASE = "canary-passphrase-5f0e"  # noqa: S105 - it protects nothing
DIGEST = digest_of([b"p"])


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    """Files that are quick to decrypt, and an environment without keys."""
    monkeypatch.setattr(keys, "_SCRYPT_ITERATIONS", 2)
    for name in (keys.KEY_VARIABLE, keys.PASSPHRASE_VARIABLE):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def kept(tmp_path):
    """A key and its file."""
    key, path = new_key(), tmp_path / "ada.json"
    write_key(key, path, PASSPHRASE)
    return key, path


def test_a_key_is_read_back(kept):
    """A file gives the key that was put in, and only its owner may read it."""
    key, path = kept
    assert read_key(path, PASSPHRASE) == key
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(path.parent.iterdir()) == [path]
    assert key.address == Account.from_key(bytes(key)).address


def test_wallets_read_the_file(kept):
    """The file is a keystore as other programs know it, and theirs are read too."""
    key, path = kept
    content = json.loads(path.read_text())
    assert Account.decrypt(content, PASSPHRASE) == bytes(key)
    theirs = path.with_name("theirs.json")
    theirs.write_text(json.dumps(Account.encrypt(bytes(key), PASSPHRASE, "pbkdf2", 2)))
    assert read_key(theirs, PASSPHRASE) == key


def test_a_key_is_never_overwritten(kept):
    """A file that is there stays as it is, and nothing is left beside it."""
    key, path = kept
    with pytest.raises(ConfigError, match="never overwritten"):
        write_key(new_key(), path, PASSPHRASE)
    assert read_key(path, PASSPHRASE) == key
    assert list(path.parent.iterdir()) == [path]


def test_what_is_no_key_is_refused(kept, tmp_path):
    """Wrong passphrases and files that are none get one line that says which."""
    _, path = kept
    with pytest.raises(ConfigError, match="passphrase of .*ada.json is wrong"):
        read_key(path, "guess")
    with pytest.raises(ConfigError, match="cannot be read: No such file"):
        read_key(tmp_path / "missing.json", PASSPHRASE)
    with pytest.raises(ConfigError, match="must not be empty"):
        write_key(new_key(), tmp_path / "new.json", "")
    with pytest.raises(ConfigError, match="cannot be written: No such file"):
        write_key(new_key(), tmp_path / "no-such-folder" / "new.json", PASSPHRASE)
    damaged = tmp_path / "damaged.json"
    for content in ("", "{", "[]", "{}", '"crypto"', "\ud800".encode("utf-8", "surrogatepass")):
        damaged.write_bytes(content if isinstance(content, bytes) else content.encode())
        with pytest.raises(ConfigError, match="is no keystore"):
            read_key(damaged, PASSPHRASE)
    whole = json.loads(path.read_text())
    for crypto in ({}, None, {**whole["crypto"], "kdf": "none"}, {**whole["crypto"], "mac": 1}):
        damaged.write_text(json.dumps({**whole, "crypto": crypto}))
        with pytest.raises(ConfigError, match="damaged"):
            read_key(damaged, PASSPHRASE)
    damaged.write_text(json.dumps(Account.encrypt(b"\1" * 32, PASSPHRASE, "scrypt", 2)))
    assert read_key(damaged, PASSPHRASE)


def test_a_key_from_the_environment(kept, monkeypatch):
    """With no file, the key itself may stand in a variable, with or without 0x."""
    key, path = kept
    with pytest.raises(ConfigError, match="no key: name its file, or set COLEARN_KEY"):
        open_key(None)
    for text in (key.hex(), "0x" + key.hex(), f" {key.hex().upper()}\n"):
        monkeypatch.setenv(keys.KEY_VARIABLE, text)
        assert open_key(None) == key
    for text in ("", "0x12", key.hex()[:-1] + "g"):
        monkeypatch.setenv(keys.KEY_VARIABLE, text)
        with pytest.raises(ConfigError, match="expected 64 hex digits"):
            open_key(None)
    for text in ("00" * 32, "ff" * 32):
        monkeypatch.setenv(keys.KEY_VARIABLE, text)
        with pytest.raises(ConfigError, match="no private key"):
            open_key(None)
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, PASSPHRASE)
    assert open_key(path) == key


def test_the_passphrase_is_asked_for(tmp_path, monkeypatch):
    """In a terminal it is asked for, twice for a new file; elsewhere the variable is named."""
    path = tmp_path / "ada.json"
    monkeypatch.setattr(sys, "stdin", io.StringIO())
    with pytest.raises(ConfigError, match="set COLEARN_PASSPHRASE"):
        passphrase_of(path)
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True)
    answers = iter(["one", "two", "one", "two", "two"])
    monkeypatch.setattr("getpass.getpass", lambda _: next(answers))
    with pytest.raises(ConfigError, match="differ"):
        passphrase_of(path, new=True)
    assert passphrase_of(path) == "one"
    assert passphrase_of(path, new=True) == "two"


def test_nothing_shows_a_key(tmp_path, monkeypatch, capfd, caplog):
    """Canary: made, kept, read, used and refused, key and passphrase are in no output."""
    caplog.set_level(logging.DEBUG)
    key, path = new_key(), tmp_path / "ada.json"
    others = [new_key() for _ in range(2)]
    said = io.StringIO()

    def say(*things):
        for thing in things:
            said.write(f"{thing} {thing!r} {[thing]!r} {thing!s:>80} {pprint.pformat(thing)}\n")
            logging.getLogger("colearn").warning("%s %r", thing, {"key": thing})

    def refused(act):
        with pytest.raises((ColearnError, TypeError)) as reason:
            act()
        error = reason.value
        while error is not None:  # those that `from None` hides too
            said.write("".join(traceback.format_exception(error)) + repr(error.args))
            error = error.__context__

    def use(given):
        """The acts of a member, right and wrong; what is passed in are the secrets."""
        members = (key.address, others[0].address)
        experiment = Experiment(members=members, initial=DIGEST, schema=DIGEST)
        ledger = EthereumLedger.found(experiment, {given.address: given})
        signer = KeySigner({given.address: given}, ledger.chain_id, ledger.address)
        say(ledger, signer, vars(ledger), vars(signer), signer.sign(Ballot(0, *ballot)))
        refused(lambda: signer.check(Ballot(0, *ballot)))
        refused(lambda: signer.sign(Ballot(0, others[0].address, DIGEST, Choice.REJECT)))
        refused(lambda: ledger.submit(Pass(1, given.address)))
        refused(lambda: json.dumps(given))
        say(ledger.submit(Pass(0, given.address)))

    ballot = (key.address, DIGEST, Choice.APPROVE)
    write_key(key, path, PASSPHRASE)
    refused(lambda: write_key(key, path, PASSPHRASE))
    refused(lambda: read_key(path, PASSPHRASE[:-1]))
    say(key, [key], {key.address: key}, read_key(path, PASSPHRASE), vars(key))
    use(key)
    monkeypatch.setenv(keys.PASSPHRASE_VARIABLE, PASSPHRASE)
    use(open_key(path))
    for text in (key.hex() + "0", key.hex()[:-1] + "x", "0X" + key.hex()):
        monkeypatch.setenv(keys.KEY_VARIABLE, text)
        refused(lambda: open_key(None))
    monkeypatch.setenv(keys.KEY_VARIABLE, key.hex())
    say(open_key(None))

    everything = said.getvalue() + caplog.text + "".join(capfd.readouterr())
    everything += path.read_text()
    number = int.from_bytes(key)
    for secret in (
        key.hex(),
        str(number),
        f"{number:x}",
        repr(bytes(key))[2:-1],
        repr(list(key))[1:-1],
        PASSPHRASE[:-1],
    ):
        assert secret.lower() not in everything.lower()
    assert key.address in everything
    assert isinstance(key, Key)
    assert BadSignature.__name__ in everything
