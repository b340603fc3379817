"""Models as ONNX, so that programs without colearn can predict with them."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from colearn.errors import MissingExtra, UnsupportedModel
from colearn.learners.base import OTHER_FORMS
from colearn.learners.supervised import one_line

if TYPE_CHECKING:
    import numpy as np
    import torch
    from sklearn.base import BaseEstimator


def from_torch(module: torch.nn.Module, example: Any) -> bytes:
    """Export a module, for any number of samples.

    Args:
        module: In evaluation mode.
        example: Inputs of two samples at least; a mapping goes to arguments by name.

    Raises:
        UnsupportedModel: It does something that ONNX cannot say.
        MissingExtra: onnx or onnxscript is not installed.
    """
    try:
        import onnxscript  # noqa: F401, PLC0415 - torch needs it, and says so late
    except ModuleNotFoundError:
        raise MissingExtra("ONNX export of torch modules", "onnxscript", "onnx") from None
    import torch  # noqa: PLC0415 - only when a torch module is exported

    named = isinstance(example, Mapping)
    free = torch.utils._pytree.tree_map(lambda _: {0: torch.export.Dim.DYNAMIC}, example)  # noqa: SLF001
    try:
        with quietly():
            program: Any = torch.onnx.export(
                module,
                () if named else (example,),
                kwargs=dict(example) if named else None,
                dynamic_shapes=free if named else (free,),
                dynamo=True,
                verbose=False,
            )
    except Exception as reason:
        raise UnsupportedModel(
            f"{type(module).__name__} has no ONNX form: {one_line(reason):.200}; {OTHER_FORMS}"
        ) from reason
    content: bytes = program.model_proto.SerializeToString()
    return content


def from_sklearn(estimator: BaseEstimator, features: int, dtype: np.dtype[Any]) -> bytes:
    """Export a fitted estimator that reads rows of so many features.

    A classifier gives labels, and probabilities or decisions.

    Raises:
        UnsupportedModel: There is no converter for it.
        MissingExtra: skl2onnx is not installed.
    """
    try:
        from skl2onnx import to_onnx  # noqa: PLC0415 - only when an estimator is exported
        from skl2onnx.common.data_types import (  # noqa: PLC0415
            DoubleTensorType,
            FloatTensorType,
        )
    except ModuleNotFoundError:
        raise MissingExtra("ONNX export of scikit-learn models", "skl2onnx", "onnx") from None
    kind = FloatTensorType if dtype.itemsize == 4 else DoubleTensorType
    options = {"zipmap": False} if hasattr(estimator, "classes_") else {}
    try:
        with quietly():
            model = to_onnx(
                estimator,
                initial_types=[("x", kind([None, features]))],
                options={id(estimator): options},
            )
    except Exception as reason:
        raise UnsupportedModel(
            f"{type(estimator).__name__} has no ONNX form: {one_line(reason):.200}; {OTHER_FORMS}"
        ) from reason
    content: bytes = model.SerializeToString()
    return content


@contextmanager
def quietly() -> Iterator[None]:
    """Hide what exporters warn of, which is about themselves and not about the model."""
    level = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(level)
