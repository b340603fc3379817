"""Cells: the named comparisons that the laboratory runs."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace

SPLITS = ("iid", "dirichlet:1", "dirichlet:0.3", "dirichlet:0.1", "classes:2")


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One comparison: everything that decides its result, but for the seed.

    Attributes:
        method: A name in `colearn.methods` or in `baselines`; or ``solo``, ``pooled``.
        policy: A name in `colearn.voting`; empty: every proposal is accepted.
        data: ``mnist``, ``fashion-mnist``, ``digits``, ``breast-cancer`` or ``credit``.
        split: As `colearn.tasks.splits.parse` reads it.
        shift: Standard deviation of noise on the last learner's features; the others have
            in proportion to their place, and test samples have none (arXiv 2102.02079).
        samples: How many training samples are shared out, at least 500 a learner; 0: all.
        learners: How many.
        rounds: How many.
        steps: Mini-batches of a learner in a round.
        learning_rate: Of the learners' optimiser.
        optimiser: ``sgd`` or ``adam``.
        absent: Share of the members that do not train in a round; all vote.
        slow: Share of the members that need more than a round: what they make of M comes a
            round later, every second round.
        late: Whether such late updates count.
        attack: A name in `attacks`; empty: all are honest.
        strength: The attack's own number.
        liars: Share of the members that attack.
        ballots: How attackers vote: ``contrary`` to most honest members; ``colluding``, for
            each other's proposals and against all others; or ``copied`` from the first honest
            member's vote, without a test of their own.
        omits: Whether an attacker whose turn it is merges only as many of the honest
            members' updates as voters insist on.
        committee: How many members, drawn each round, train and vote beside the proposer;
            0: all.
    """

    method: str
    policy: str = ""
    data: str = "mnist"
    split: str = "dirichlet:0.3"
    shift: float = 0.0
    samples: int = 5_000
    learners: int = 10
    rounds: int = 30
    steps: int = 25
    learning_rate: float = 0.3
    optimiser: str = "sgd"
    absent: float = 0.0
    slow: float = 0.0
    late: bool = True
    attack: str = ""
    strength: float = 0.0
    liars: float = 0.0
    ballots: str = "contrary"
    omits: bool = False
    committee: int = 0


FAST = Cell(method="fast", policy="not-worse")
SHIELD = Cell(method="shield", policy="not-worse")
SOLO_DC = Cell(method="solo-dc", policy="not-worse", rounds=300)
PLAIN = Cell(method="plain", policy="loss", rounds=300)
FEDAVG, FEDAVGM = Cell(method="fedavg"), Cell(method="fedavgm")
KRUM = Cell(method="multi-krum-told")
UNGUARDED = {
    "trimmed-mean": Cell(method="trimmed-mean-told"),
    "median": Cell(method="median"),
    "fedavgm": FEDAVGM,
}
"""What else is attacked, at one setting."""

COMPARED = {
    "solo": Cell(method="solo"),
    "pooled": Cell(method="pooled"),
    "fedavg": FEDAVG,
    "fedprox": Cell(method="fedprox"),
    "fedavgm": FEDAVGM,
    "scaffold": Cell(method="scaffold"),
    "median": Cell(method="median"),
    "trimmed-mean": Cell(method="trimmed-mean"),
    "multi-krum": Cell(method="multi-krum"),
    "plain-30": replace(PLAIN, rounds=30),
    "plain": PLAIN,
    "solo-dc": SOLO_DC,
    "shield": SHIELD,
    "fast": FAST,
}
"""``plain`` and ``solo-dc`` train one member a round: 300 rounds are equal compute."""


def _crossed(
    group: str, cells: dict[str, Cell], splits: tuple[str, ...] = SPLITS, **changes: object
) -> Iterator[tuple[str, Cell]]:
    for split in splits:
        for name, cell in cells.items():
            yield f"{group}/{name}/{split}", replace(cell, split=split, **changes)


def _attacked() -> Iterator[tuple[str, Cell]]:
    defences = {"shield": SHIELD, "multi-krum": KRUM, "fast": FAST, "gone": FAST}
    for split, share in (
        ("iid", 0.4),
        ("dirichlet:0.3", 0.1),
        ("dirichlet:0.3", 0.2),
        ("dirichlet:0.3", 0.3),
        ("dirichlet:0.3", 0.4),
        ("dirichlet:0.1", 0.3),
        ("classes:2", 0.2),
    ):
        for attack, strength in (("sign-flip", 3.0), ("label-flip", 0.0)):
            more = UNGUARDED if (split, share) == ("dirichlet:0.3", 0.3) else {}
            for name, cell in (defences | more).items():
                if name == "gone" and attack == "label-flip":
                    continue
                lie = "gone" if name == "gone" else attack
                label = f"attack/{name}/{split} {share:.0%} {lie}"
                yield label, replace(cell, split=split, attack=lie, strength=strength, liars=share)


def _ballots() -> Iterator[tuple[str, Cell]]:
    """Where a proposer's own model is put to the vote, and where a merge that all repeat is."""
    for name, cell in (("plain", PLAIN), ("shield", SHIELD)):
        for ballots in ("contrary", "colluding", "copied"):
            yield (
                f"ballots/{name}/{ballots}",
                replace(cell, split="iid", attack="label-flip", liars=0.3, ballots=ballots),
            )


def _omitting() -> Iterator[tuple[str, Cell]]:
    for attack, strength in (("sign-flip", 3.0), ("label-flip", 0.0), ("little", 1.5)):
        yield (
            f"omitting/shield/dirichlet:0.3 30% {attack}",
            replace(SHIELD, attack=attack, strength=strength, liars=0.3, omits=True),
        )


def _adaptive() -> Iterator[tuple[str, Cell]]:
    strengths = {
        "backward": (0.5, 1.0, 1.5, 2.0, 3.0),
        "little": (0.5, 1.0, 1.5, 2.5),
        "noise": (1.0,),
        "free-ride": (0.0,),
    }
    for attack, numbers in strengths.items():
        for strength in numbers:
            for name, cell in (("shield", SHIELD), ("multi-krum", KRUM)):
                label = f"adaptive/{name}/{attack} {strength:g}"
                yield label, replace(cell, attack=attack, strength=strength, liars=0.3)


def _all() -> Iterator[tuple[str, Cell]]:
    merged = {"fedavg": FEDAVG, "fedavgm": FEDAVGM, "fast": FAST}
    yield from _crossed("skew", COMPARED)
    yield from _crossed(
        "fashion",
        merged | {"shield": SHIELD},
        ("iid", "dirichlet:0.3", "classes:2"),
        data="fashion-mnist",
    )
    yield from _crossed(
        "all-fashion",
        merged | {"shield": SHIELD},
        ("dirichlet:0.3", "classes:2"),
        data="fashion-mnist",
        samples=0,
    )
    yield from _crossed(
        "digits",
        merged | {"plain": PLAIN, "solo-dc": SOLO_DC},
        ("iid", "dirichlet:0.3", "classes:2"),
        data="digits",
    )
    few = {name: COMPARED[name] for name in ("solo", "pooled", "fedavg", "fedavgm", "plain")}
    few |= {"shield": SHIELD, "fast": FAST}
    yield from _crossed("sizes", few, ("sizes:0.5",))
    yield from _crossed("shift", few, ("iid",), shift=1.0)
    for data, splits in (
        ("breast-cancer", ("iid", "dirichlet:1")),
        ("credit", ("iid", "dirichlet:0.3")),
    ):
        yield from _crossed(
            data, few, splits, data=data, learners=5 if data == "breast-cancer" else 10
        )
    votes = {
        name: replace(FAST, policy=name) for name in ("loss", "accuracy", "not-worse", "class-veto")
    }
    yield from _crossed(
        "vote", votes | {"none": replace(FAST, policy="")}, ("dirichlet:0.3", "classes:2")
    )
    yield from _crossed(
        "rate-1.0",
        {"fedavgm": FEDAVGM, "fast": FAST, "solo-dc": SOLO_DC},
        ("dirichlet:0.3", "classes:2"),
        learning_rate=1.0,
    )
    yield from _crossed(
        "adam", merged, ("dirichlet:0.3", "classes:2"), optimiser="adam", learning_rate=0.002
    )
    yield from _crossed("half-absent", merged, ("dirichlet:0.3", "classes:2"), absent=0.5)
    for split in ("dirichlet:0.3", "classes:2"):
        for late, name in ((True, "counted"), (False, "dropped")):
            yield f"half-slow/fast {name}/{split}", replace(FAST, split=split, slow=0.5, late=late)
    yield from _crossed("100-rounds", {"fast": FAST}, ("dirichlet:0.3", "classes:2"), rounds=100)
    yield from _attacked()
    yield from _adaptive()
    yield from _omitting()
    yield from _ballots()
    for name, cell in (("shield", SHIELD), ("fast", FAST), ("median", Cell(method="median"))):
        yield f"backdoor/{name}/30%", replace(cell, attack="backdoor", liars=0.3)
    for name, cell in (("fast", FAST), ("shield", SHIELD), ("fedavgm", FEDAVGM)):
        yield f"fifty/{name}/honest", replace(cell, learners=50)
    yield (
        "fifty/shield/30% sign-flip",
        replace(SHIELD, learners=50, attack="sign-flip", strength=3.0, liars=0.3),
    )
    for learners in (100, 1000):
        yield (
            f"committee/fast/64 of {learners}",
            replace(FAST, split="iid", learners=learners, committee=64),
        )


CELLS: dict[str, Cell] = dict(_all())
"""By name: group / method / what it is put through."""

CHOSEN = (
    *(
        f"skew/{name}/{split}"
        for split in ("iid", "dirichlet:0.3", "classes:2")
        for name in COMPARED
        if name not in ("fedprox", "median", "trimmed-mean", "plain-30")
    ),
    "sizes/*",
    "shift/*",
    "breast-cancer/*/dirichlet:1",
    "attack/*/dirichlet:0.3 30% *",
    *(f"adaptive/*/{lie}" for lie in ("backward 1.5", "little 1.5")),
)
"""Patterns of about sixty cells that say most; they are run where none are named."""
