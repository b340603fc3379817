"""How a command that runs for long ends."""

from __future__ import annotations

import os
import signal
import weakref

import pytest

from colearn.cli.ending import terminated_cleanly


@pytest.mark.parametrize(
    ("number", "error"),
    [
        (signal.SIGINT, KeyboardInterrupt),
        (signal.SIGTERM, SystemExit),
        (signal.SIGHUP, SystemExit),
    ],
)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_that_is_swallowed_is_not_lost(number, error):
    """Raised where Python ignores what is raised, it ends the command at the next look."""

    class Thing:
        pass

    before = signal.signal(number, signal.SIG_DFL)  # under nohup a hang-up is ignored
    try:
        with pytest.raises(error), terminated_cleanly() as ending:  # noqa: PT012
            thing = Thing()
            reference = weakref.ref(thing, lambda _: os.kill(os.getpid(), number))
            del thing
            assert reference() is None
            ending.read(None)
    finally:
        signal.signal(number, before)


def test_without_a_signal_it_goes_on():
    """Looking ends nothing by itself, and what handled signals before does again."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with terminated_cleanly() as ending:
        ending.read(None)
        ending.failed(None)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before


def test_under_nohup_the_terminal_may_close():
    """A hang-up that was ignored before stays ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_cleanly() as ending:
            os.kill(os.getpid(), signal.SIGHUP)
            ending.check()
    finally:
        signal.signal(signal.SIGHUP, before)
