"""What methods are compared with: named baselines made of the product's own merge."""

from __future__ import annotations

from functools import partial

from colearn.methods import METHODS
from colearn.methods.centers import mean, multi_krum, trimmed_mean
from colearn.methods.controls import always
from colearn.methods.merged import Merged
from colearn.protocols import Method

FEDPROX = 0.01
"""FedProx's pull; the learners add it while they train."""

BASELINES: dict[str, Method] = {
    "fedavg": METHODS["average"],
    "fedprox": Merged("fedprox", mean),
    "fedavgm": Merged("fedavgm", mean, momentum=0.7),
    "scaffold": Merged("scaffold", mean, control=partial(always, mean)),
}


def find(name: str, liars: float) -> Method:
    """A baseline or a method of the product; some are told what share of the members lies."""
    told = {
        "multi-krum-told": partial(multi_krum, liars=liars),
        "trimmed-mean-told": partial(trimmed_mean, trim=liars),
    }
    if name in told:
        return Merged(name, told[name])
    return BASELINES.get(name) or METHODS[name]
