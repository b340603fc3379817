"""Without the packages of an extra, a command says which one it needs."""

from __future__ import annotations

import subprocess
import sys

import pytest

PACKAGES = ("web3", "coincurve", "eth_account", "eth_hash", "eth_utils", "eth_tester", "eth_abi")
WITHOUT = f"""
import sys
sys.modules.update(dict.fromkeys({PACKAGES}))
from colearn.cli import main
main(sys.argv[1:])
"""


def without(folder, *arguments):
    """Run a command where none of the extra's packages can be imported."""
    return subprocess.run(
        [sys.executable, "-c", WITHOUT, *arguments],
        cwd=folder,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "devnet",
        "keys new key.json",
        "keys certificate me.pem",
        f"init digits --trusted --out other.toml --member {'0x' + '1' * 40}",
        "deploy experiment.toml",
        "join experiment.toml",
        "status experiment.toml",
        "audit experiment.toml",
        "members list",
        "members rule",
        "fork --store x",
        "demo --ledger evm",
    ],
)
def test_what_acts_on_a_chain_names_its_extra(tmp_path, arguments):
    """One line with the command that installs it, and no traceback."""
    (tmp_path / "experiment.toml").touch()
    done = without(tmp_path, *arguments.split())
    assert done.returncode == 1, done.stderr
    assert done.stderr.count("\n") == 1, done.stderr
    assert "pip install 'colearn-protocol[evm]'" in done.stderr


def test_an_experiment_is_written_down_without(tmp_path):
    """Members that are filled in later need nothing of a chain yet."""
    done = without(tmp_path, "init", "iris", "--trusted")
    assert done.returncode == 0, done.stderr
