"""The small datasets that scikit-learn brings along.

Each feature is scaled by a fixed middle and width that follow from what it
measures: what adults' blood tests and cell nuclei are commonly like, in round
numbers. Learners could agree on them without looking at anybody's samples.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from colearn.errors import MissingExtra
from colearn.tasks.datasets import Dataset, set_apart

try:
    from sklearn import datasets as source
except ModuleNotFoundError:
    raise MissingExtra("this task", "scikit-learn", "demo") from None

# Nuclei are drawn on a digitised image, so lengths are in pixels: radius, standard
# deviation of grey levels, perimeter, area; then, without units, smoothness,
# compactness (perimeter² / area − 1, scaled), concavity, share of concave points,
# symmetry and fractal dimension − 1. A nucleus of radius 15 has a perimeter near
# 2π·15 and an area near π·15². Each stands three times: mean over the nuclei of an
# image, its standard error (about a tenth of the mean's spread), mean of the largest.
_NUCLEUS_MIDDLE = np.array([15, 20, 95, 700, 0.1, 0.1, 0.1, 0.05, 0.2, 0.06])
_NUCLEUS_WIDTH = np.array([5, 5, 30, 400, 0.02, 0.1, 0.1, 0.05, 0.05, 0.01])
_BREAST_CANCER_MIDDLE = np.concatenate(
    [_NUCLEUS_MIDDLE, _NUCLEUS_WIDTH / 10, _NUCLEUS_MIDDLE + _NUCLEUS_WIDTH / 2]
)
_BREAST_CANCER_WIDTH = np.concatenate([_NUCLEUS_WIDTH, _NUCLEUS_WIDTH / 10, _NUCLEUS_WIDTH])

# Age in years, sex as 1 or 2, body mass index, mean blood pressure in mmHg, total,
# LDL and HDL cholesterol in mg/dl, total / HDL, logarithm of triglycerides in mg/dl,
# glucose in mg/dl: a middling adult, and how far adults commonly lie from it.
_DIABETES_MIDDLE = np.array([50, 1.5, 25, 95, 190, 115, 50, 4, np.log(100), 90])
_DIABETES_WIDTH = np.array([15, 0.5, 5, 15, 35, 30, 15, 1.5, 0.5, 12])

# Disease progression after a year is an index between 25 and 346 as published.
_PROGRESSION_MIDDLE = 150.0
_PROGRESSION_WIDTH = 100.0

# Petals and sepals in cm.
_IRIS_WIDTH = 10.0

# Digits count the inked pixels of each block of 4 × 4.
_DIGITS_WIDTH = 16


def digits() -> Dataset:
    """8 × 8 handwritten digits: 1,797 samples, 64 features in 0 … 1, ten classes."""
    x, y = source.load_digits(return_X_y=True)
    return _classes((x / _DIGITS_WIDTH).astype(np.float32), y)


def breast_cancer() -> Dataset:
    """Wisconsin diagnoses: 569 samples, 30 features of nuclei, malignant or benign."""
    x, y = source.load_breast_cancer(return_X_y=True)
    return _classes((x - _BREAST_CANCER_MIDDLE) / _BREAST_CANCER_WIDTH, y)


def iris() -> Dataset:
    """Iris flowers: 150 samples, 4 lengths, three species."""
    x, y = source.load_iris(return_X_y=True)
    return _classes(x / _IRIS_WIDTH, y)


def diabetes() -> Dataset:
    """Diabetes progression: 442 patients, 10 features, a number to predict."""
    x, y = source.load_diabetes(return_X_y=True, scaled=False)
    return set_apart(
        (x - _DIABETES_MIDDLE) / _DIABETES_WIDTH,
        (y - _PROGRESSION_MIDDLE) / _PROGRESSION_WIDTH,
        classes=None,
    )


LOADERS = {
    "digits": digits,
    "breast-cancer": breast_cancer,
    "iris": iris,
    "diabetes": diabetes,
}


def _classes(x: NDArray[Any], y: NDArray[Any]) -> Dataset:
    return set_apart(x, y.astype(np.int64), np.unique(y).astype(np.int64))
