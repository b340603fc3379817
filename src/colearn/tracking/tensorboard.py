"""Tracking in TensorBoard's event files."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path

from colearn.errors import ConfigError, MissingExtra

try:
    from tensorboard.compat.proto.event_pb2 import Event
    from tensorboard.compat.proto.summary_pb2 import Summary
    from tensorboard.plugins.text.summary_v2 import text_pb
    from tensorboard.summary.writer.event_file_writer import EventFileWriter
except ModuleNotFoundError:
    raise MissingExtra("tracking in TensorBoard", "tensorboard", "tensorboard") from None


class TensorBoardTracker:
    """A `colearn.tracking.Tracker` that writes a folder of TensorBoard's.

    Args:
        folder: TensorBoard's log folder; the run gets one of its own in it.
        name: The run's name.
        settings: Shown as text.

    Raises:
        ConfigError: Nothing can be written there.
    """

    def __init__(self, folder: Path, name: str, settings: Mapping[str, object]) -> None:
        try:
            (folder / name).mkdir(parents=True, exist_ok=True)
            self._writer = EventFileWriter(str(folder / name))
        except OSError as reason:
            raise ConfigError(f"{folder} cannot be written to: {reason.strerror}") from None
        text = "".join(f"    {key} = {value}\n" for key, value in settings.items())
        self._write(0, text_pb("settings", text))

    def log(self, round_index: int, numbers: Mapping[str, float]) -> None:
        """Keep finite numbers of a round, by name."""
        self._write(
            round_index,
            Summary(
                value=[
                    Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()
                ]
            ),
        )

    def close(self) -> None:
        """Write all that waits."""
        self._writer.close()

    def _write(self, step: int, summary: Summary) -> None:
        self._writer.add_event(Event(wall_time=time.time(), step=step, summary=summary))
