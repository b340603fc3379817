"""The picture of a run: score per round above, who voted how below."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from colearn.errors import MissingExtra
from colearn.records import Choice
from colearn.report import files
from colearn.report.result import BEST_SOLO, Row

try:
    from matplotlib.colors import ListedColormap
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch
    from matplotlib.ticker import MaxNLocator
except ImportError:
    raise MissingExtra("plotting", "matplotlib", "demo") from None

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TITLE = ("task", "learners", "method", "split", "seed")
_COLLECTIVE = "#1f5fa8"
_ACCEPTED = "#1b9e77"
_REFUSED = "#d95f02"
_LINES = ("#8f5fbf", "#c2529a", "#b8860b", "#6b6b6b")
_CELLS = {
    Choice.APPROVE.value: (_ACCEPTED, "approve"),
    Choice.REJECT.value: (_REFUSED, "reject"),
    Choice.ABSTAIN.value: ("#e8c14a", "abstain"),
    "propose": (_COLLECTIVE, "proposed"),
    "": ("#eeeeee", "no vote"),
}


def draw(
    members: Sequence[str],
    rows: Sequence[Row],
    *,
    curves: Mapping[str, Sequence[float]] | None = None,
    title: str = "",
    path: str | Path | None = None,
) -> Figure:
    """Draw a run.

    Args:
        members: The learners' names, in join order.
        rows: One for each round.
        curves: Other scores to compare with, by label, one for each round.
        title: Above the picture.
        path: Where to save it as well; the suffix names the format.

    Returns:
        The figure; nothing is shown on a screen.
    """
    votes_height = 0.4 + 0.24 * len(members)
    scored = any(math.isfinite(row.score) for row in rows)
    heights = [3.2, votes_height] if scored else [votes_height]
    figure = Figure(figsize=(9, sum(heights) + 1), layout="constrained")
    axes = figure.subplots(
        len(heights), 1, sharex=True, squeeze=False, gridspec_kw={"height_ratios": heights}
    )[:, 0]
    if scored:
        _scores(axes[0], rows, curves or {})
    _votes(axes[-1], members, rows)
    figure.legend(
        handles=[Patch(color=colour, label=label) for colour, label in _CELLS.values()],
        fontsize=8,
        ncols=len(_CELLS),
        loc="outside lower center",
        frameon=False,
    )
    figure.suptitle(title or f"{len(members)} learners, {len(rows)} rounds", fontsize=11)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def redraw(folder: Path) -> Path:
    """Draw a run from its files, as ``curve.png`` beside them; return the path.

    Raises:
        ConfigError: The folder holds no run, or none that has ended a round.
    """
    members, rows = files.read_rounds(folder)
    comparison = files.read_comparison(folder)
    settings = files.read_settings(folder)
    path = folder / files.PLOT_FILE
    curves = {}
    if comparison is not None:
        scores = {BEST_SOLO: comparison.solo[comparison.best_solo], **comparison.others}
        curves = {f"{name} {scores[name]:.4f}": curve for name, curve in comparison.curves.items()}
    title = ", ".join(f"{name} {settings[name]}" for name in _TITLE if name in settings)
    draw(members, rows, curves=curves, title=title, path=path)
    return path


def _scores(axes: Axes, rows: Sequence[Row], curves: Mapping[str, Sequence[float]]) -> None:
    for colour, (label, curve) in zip(_LINES, curves.items(), strict=False):
        axes.plot(curve, color=colour, linestyle="--", linewidth=1.2, label=label)
    axes.plot([row.score for row in rows], color=_COLLECTIVE, linewidth=2, label="collective")
    for accepted, marker, colour, label in (
        (True, "o", _ACCEPTED, "accepted"),
        (False, "x", _REFUSED, "not accepted"),
    ):
        at = [index for index, row in enumerate(rows) if row.accepted is accepted]
        axes.scatter(
            at,
            [rows[index].score for index in at],
            marker=marker,
            color=colour,
            s=26,
            zorder=3,
            label=label,
        )
    axes.set_ylabel("score on the common test set")
    axes.grid(alpha=0.25)
    axes.legend(fontsize=8, loc="lower right", ncols=2)


def _votes(axes: Axes, members: Sequence[str], rows: Sequence[Row]) -> None:
    words = list(_CELLS)
    cells = [[words.index(row.did.get(member, "")) for row in rows] for member in members]
    axes.pcolormesh(
        range(len(rows)),
        range(len(members)),
        cells,
        cmap=ListedColormap([colour for colour, _ in _CELLS.values()]),
        vmin=-0.5,
        vmax=len(words) - 0.5,
        edgecolors="white",
        linewidth=min(2.0, 120 / len(rows)),
    )
    axes.set_yticks(range(len(members)), members, fontsize=8)
    axes.set_ylim(len(members) - 0.5, -0.5)
    axes.set_xlim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("round")
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
