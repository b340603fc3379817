"""What importing and asking for help cost, in CPU time, beside numpy's own import.

python benchmarks/imports.py
"""

from __future__ import annotations

import resource
import statistics
import subprocess
import sys

RUNS = 15
COMMANDS = {
    "python": "pass",
    "import numpy": "import numpy",
    "import colearn": "import colearn",
    "import colearn, Collective": "from colearn import Collective",
    "colearn --help": "from colearn.cli import main; main(['--help'])",
}


def cpu_seconds(code: str) -> float:
    """CPU time of a fresh interpreter that runs this code."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    times: dict[str, list[float]] = {name: [] for name in COMMANDS}
    for _ in range(RUNS):
        for name, code in COMMANDS.items():
            times[name].append(cpu_seconds(code))
    numpy = statistics.median(times["import numpy"])
    for name, runs in times.items():
        median = statistics.median(runs)
        print(f"{name:28} {median * 1e3:6.1f} ms   {median / numpy:5.2f} × import numpy")
    loaded = subprocess.run(
        [sys.executable, "-c", COMMANDS["colearn --help"] + "; import sys; print([*sys.modules])"],
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    assert "'cyclopts'" in loaded
    print("colearn --help", "imports numpy" if "'numpy'" in loaded else "does not import numpy")


if __name__ == "__main__":
    main()
