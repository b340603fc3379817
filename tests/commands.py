"""Running a command in this process."""

from __future__ import annotations

from colearn.cli import main


def run(capsys, *arguments):
    """Run a command; return exit status, stdout and stderr."""
    status = 0
    try:
        main(arguments)
    except SystemExit as end:
        status = end.code
    out, err = capsys.readouterr()
    return status, out, err
