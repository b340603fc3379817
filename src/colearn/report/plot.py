"""The picture of a run: score per round above, who voted how below; and of ways side by side."""

from __future__ import annotations

import math
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from colearn.errors import MissingExtra
from colearn.records import Choice
from colearn.report import files
from colearn.report.result import BEST_SOLO, NOT_DRAWN, PROPOSED, Row

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
_EASILY_SEEN = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00", "#555555")
_STROKES = ("-", "-.", ":")
_LINE_HEIGHT = 0.045
_CELLS = {
    Choice.APPROVE.value: (_ACCEPTED, "approve"),
    Choice.REJECT.value: (_REFUSED, "reject"),
    Choice.ABSTAIN.value: ("#e8c14a", "abstain"),
    PROPOSED: (_COLLECTIVE, "proposed"),
    NOT_DRAWN: ("#ffffff", "not drawn"),
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
    drawn = any(NOT_DRAWN in row.did.values() for row in rows)
    cells = [cell for deed, cell in _CELLS.items() if drawn or deed != NOT_DRAWN]
    figure.legend(
        handles=[Patch(color=colour, label=label) for colour, label in cells],
        fontsize=8,
        ncols=len(cells),
        loc="outside lower center",
        frameon=False,
    )
    figure.suptitle(title or f"{len(members)} learners, {len(rows)} rounds", fontsize=11)
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def draw_curves(
    curves: Mapping[str, Sequence[Sequence[float]]],
    *,
    title: str,
    xlabel: str,
    ylabel: str,
    ends: float,
    begins: float = 0.0,
    apart: Collection[str] = (),
    path: str | Path | None = None,
) -> Figure:
    """Draw several ways to learn side by side: means over seeds, in the range of all seeds.

    Each curve is named where it ends. Its colour, one of Okabe and Ito's, can be told from the
    others' by people who see some colours alike.

    Args:
        curves: By label, for each seed the values, evenly spread from ``begins`` to ``ends``.
        title: Above the picture; says what is seen.
        xlabel: What runs from ``begins`` to ``ends``.
        ylabel: What the values are.
        ends: Where curves end.
        begins: Where they begin.
        apart: Labels of what the others are compared with, drawn broken.
        path: Where to save it as well; the suffix names the format.

    Returns:
        The figure; nothing is shown on a screen.
    """
    figure = Figure(figsize=(9, 5.2), layout="constrained")
    axes = figure.subplots()
    named: list[tuple[float, str, str]] = []
    for index, (label, seeds) in enumerate(curves.items()):
        values = np.array(seeds, np.float64)
        x = np.linspace(begins, ends, values.shape[1])
        colour = _EASILY_SEEN[index % len(_EASILY_SEEN)]
        stroke = _STROKES[index // len(_EASILY_SEEN) % len(_STROKES)]
        mean = values.mean(axis=0)
        axes.plot(
            x,
            mean,
            color=colour,
            linewidth=1.8,
            linestyle="--" if label in apart else stroke,
            marker="." if len(x) == 1 else "",
        )
        axes.fill_between(
            x, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.12, linewidth=0
        )
        named.append((float(mean[-1]), label, colour))
    axes.set(xlabel=xlabel, ylabel=ylabel)
    axes.margins(x=0.02 if ends == begins else 0)
    if ends > 1:
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set_ylim(*_where_they_end_up(curves.values()))
    axes.set_title(title, loc="left", fontsize=11)
    axes.grid(alpha=0.25)
    axes.spines[["top", "right"]].set_visible(False)
    _name_ends(axes, [each for each in named if math.isfinite(each[0])])
    if path is not None:
        figure.savefig(path, dpi=130)
    return figure


def _where_they_end_up(curves: Iterable[Sequence[Sequence[float]]]) -> tuple[float, float]:
    """Where means lie after a fifth of the way: what they rise from would take most of the room."""
    means = [np.array(seeds, np.float64).mean(axis=0) for seeds in curves]
    late = np.concatenate([mean[len(mean) // 5 :] for mean in means])
    late = late[np.isfinite(late)]
    low, high = (late.min(), late.max()) if len(late) else (0.0, 1.0)
    room = max(0.08 * (high - low), 1e-3 * max(1.0, abs(high)))
    return float(low - room), float(high + room)


def _name_ends(axes: Axes, named: list[tuple[float, str, str]]) -> None:
    """Write each label where its curve ends, pushed apart so that none covers another."""
    low, high = axes.get_ylim()
    places = [(value - low) / (high - low) for value, *_ in named]
    for (value, label, colour), place in zip(
        named, _pushed_apart(places, _LINE_HEIGHT), strict=True
    ):
        axes.annotate(
            label,
            xy=(1, value),
            xycoords=axes.get_yaxis_transform(),
            xytext=(1.04, place),
            textcoords="axes fraction",
            color=colour,
            fontsize=9,
            va="center",
            arrowprops={
                "arrowstyle": "-",
                "color": colour,
                "linewidth": 0.7,
                "shrinkA": 1,
                "shrinkB": 0,
                "relpos": (0, 0.5),
            },
            annotation_clip=False,
        )


def _pushed_apart(places: Sequence[float], gap: float) -> list[float]:
    """Places near those given, in their order, at most 1, no two nearer than the gap."""
    order = sorted(range(len(places)), key=lambda index: places[index])
    blocks: list[tuple[list[int], float]] = []  # neighbours that touch, and where the first stands
    for index in order:
        members, start = [index], places[index]
        while blocks and start < blocks[-1][1] + gap * len(blocks[-1][0]):
            members = blocks.pop()[0] + members
            wished = [places[each] - gap * rank for rank, each in enumerate(members)]
            start = sum(wished) / len(wished)
        blocks.append((members, start))
    result = [0.0] * len(places)
    for members, start in blocks:
        for rank, index in enumerate(members):
            result[index] = start + gap * rank
    for above, index in enumerate(reversed(order)):
        result[index] = min(result[index], 1 - gap * above)
    return result


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
