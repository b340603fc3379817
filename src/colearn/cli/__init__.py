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
app.command(
    "colearn.cli.lab:lab",
    name="lab",
    help="Try methods side by side, on a task or on data and a model of your own.",
)
app.command("colearn.cli.demo:resume", name="resume", help="Go on with a run that was stopped.")
app.command(
    "colearn.cli.export:export",
    name="export",
    help="Write a run's model as a file that other programs read.",
)
app.command(
    "colearn.cli.audit:audit",
    name="audit",
    help="Recompute every decision of a run, or of an experiment on a chain.",
)
app.command(
    "colearn.cli.experiments:init",
    name="init",
    help="Write down what the members of an experiment agree on.",
)
app.command(
    "colearn.cli.join:join", name="join", help="Take part in an experiment, until its last round."
)
app.command("colearn.cli.status:status", name="status", help="Say how an experiment stands.")
app.command("colearn.cli.deploy:deploy", name="deploy", help="Put an experiment on a chain.")
app.command("colearn.cli.devnet:devnet", name="devnet", help="Start a chain to try things out on.")
_keys = App(name="keys", help="Keys of members.")
_keys.command("colearn.cli.keys:new", name="new", help="Make a key, and print its address.")
_keys.command(
    "colearn.cli.keys:certificate", name="certificate", help="Make a TLS certificate and its key."
)
app.command(_keys)
_members = App(name="members", help="Who takes part, and how the members change that.")
for _name, _help in (
    ("add", "Vote for a newcomer."),
    ("remove", "Vote for a member to leave."),
    ("rotate", "Give your own place to a new key of yours."),
    ("replace", "Vote for another key in a member's place."),
    ("rule", "Vote for another voting rule."),
    ("vote", "Vote for a change that another member wants."),
):
    _members.command(f"colearn.cli.members:{_name}", name=_name, help=_help)
_members.command("colearn.cli.members:list_all", name="list", help="List members and changes.")
app.command(_members)
app.command("colearn.cli.fork:fork", name="fork", help="Go on with the members that remain.")
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
