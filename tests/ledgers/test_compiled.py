"""The contract that is shipped: compiled from its source, with nobody above its members."""

from __future__ import annotations

import runpy
import tomllib
from importlib.resources import files
from pathlib import Path

from evm import NAMES, Contract
from vyper import compile_code

from colearn.ledgers.contract import REFUSALS, compiled
from colearn.records import Experiment, digest_of, encode

ROOT = Path(__file__).parents[2]
CONTRACTS = files("colearn.ledgers") / "contracts"


def source() -> str:
    """The contract's source, from the installed package."""
    return (CONTRACTS / "CollectiveLearning.vy").read_text()


def test_bytecode_is_the_sources() -> None:
    """Compiling the source gives the very file that is shipped, byte for byte."""
    script = runpy.run_path(str(ROOT / "scripts/compile_contract.py"))
    shipped = (CONTRACTS / "CollectiveLearning.json").read_text()
    assert script["compiled"](source()) == shipped, "run: python scripts/compile_contract.py"


def test_compiler_is_pinned() -> None:
    """The compiler named in the file is the one that the tests install."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    pinned = compiled()["compiler"].replace("vyper ", "vyper==")
    assert pinned in project["optional-dependencies"]["test"]


def test_nobody_is_above_the_members() -> None:
    """The functions that change something are those of a member, and no other."""
    changing = {
        each["name"]
        for each in compiled()["abi"]
        if each["type"] == "function" and each["stateMutability"] not in {"view", "pure"}
    }
    assert changing == {
        "propose",
        "propose_with_votes",
        "vote",
        "commit",
        "reveal",
        "pass_turn",
        "endorse_add",
        "endorse_remove",
        "endorse_replace",
        "endorse_rule",
        "rotate_key",
    }


def test_it_fits_on_any_chain_and_its_functions_say_what_they_do() -> None:
    """The code is below the size that chains allow (EIP-170), and calls no other contract.

    What a wallet shows of each function says what it does (NatSpec).
    """
    formats = ["bytecode_runtime", "opcodes_runtime", "userdoc", "devdoc"]
    output = compile_code(source(), output_formats=formats)
    assert len(output["bytecode_runtime"]) // 2 - 1 <= 24_576
    opcodes = set(output["opcodes_runtime"].split())
    assert not opcodes & {"CALL", "CALLCODE", "DELEGATECALL", "SELFDESTRUCT", "PREVRANDAO"}
    described = {signature.partition("(")[0] for signature in output["userdoc"]["methods"]}
    functions = {each["name"]: each for each in compiled()["abi"] if each["type"] == "function"}
    assert described == functions.keys() - {"experiment"}
    for signature, said in output["devdoc"]["methods"].items():
        if (function := functions.get(signature.partition("(")[0])) is None:
            continue  # the constructor
        assert said.get("params", {}).keys() == {each["name"] for each in function["inputs"]}
        assert ("returns" in said) == bool(function["outputs"])


def test_every_refusal_has_its_error() -> None:
    """Each text with which the contract refuses a member's act is known on this side."""
    assert all(f'"{text}"' in source() for text in REFUSALS)


def test_it_names_its_experiment() -> None:
    """The digest of what the members agreed on can be read from the contract."""
    digest = digest_of([b"M0"])
    experiment = Experiment(members=NAMES[:2], initial=digest, schema=digest)
    contract = Contract(experiment)
    assert contract.view("experiment").hex() == digest_of([encode(experiment)])
