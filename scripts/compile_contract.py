"""Compile the contract: its ABI and bytecode, so that users need no compiler."""

from __future__ import annotations

import json
from pathlib import Path

import vyper

SOURCE = Path(__file__).parents[1] / "src/colearn/ledgers/contracts/CollectiveLearning.vy"


def compiled(source: str) -> str:
    """The text of the file that is shipped, for a source."""
    output = vyper.compile_code(source, output_formats=["abi", "bytecode", "bytecode_runtime"])
    shipped = {"compiler": f"vyper {vyper.__version__}", **output}
    return json.dumps(shipped, indent=1) + "\n"


if __name__ == "__main__":
    SOURCE.with_suffix(".json").write_text(compiled(SOURCE.read_text()))
