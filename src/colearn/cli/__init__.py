"""The command line: thin commands over the library."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from importlib.metadata import version
from io import TextIOWrapper

from cyclopts import App, CycloptsError

from colearn.errors import ColearnError

app = App(
    name="colearn",
    help="Collective learning: train one model together, judge every step on private data.",
    help_format="plaintext",
    version=lambda: version("colearn-protocol"),
    version_flags=["--version"],
)
app.command(
    "colearn.cli.demo:demo",
    name="demo",
    help="See learners train one model together, on real data.",
)
app.command("colearn.cli.demo:resume", name="resume", help="Go on with a run that was stopped.")
app.command("colearn.cli.runs:audit", name="audit", help="Recompute every decision of a run.")
app.command(
    "colearn.cli.experiments:init",
    name="init",
    help="Write down what the members of an experiment agree on.",
)
app.command("colearn.cli.runs:plot", name="plot", help="Draw a run again.")
app.command("colearn.cli.runs:tasks", name="tasks", help="List the tasks of the demo.")


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command and end the process: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    if isinstance(sys.stdout, TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")
    try:
        app(arguments, exit_on_error=False, print_error=False, result_action="return_value")
    except CycloptsError as reason:
        _fail(str(reason), 2)
    except ColearnError as reason:
        _fail(str(reason), 1)
    except KeyboardInterrupt:
        sys.exit(130)
    except BrokenPipeError:
        sys.stderr.close()
        sys.exit(1)
    except OSError as reason:
        _fail(f"{reason.filename or 'output'} cannot be used: {reason.strerror}", 1)


def _fail(message: str, status: int) -> None:
    print(f"colearn: {' '.join(message.split())}", file=sys.stderr)
    sys.exit(status)
