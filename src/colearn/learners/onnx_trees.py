"""Trees as ONNX, written from the arrays that they travel in."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from colearn.errors import MissingExtra

try:
    from onnx import NodeProto, TensorProto, helper, numpy_helper
except ModuleNotFoundError:
    raise MissingExtra("ONNX export of trees", "onnx", "onnx") from None

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from colearn.learners.trees import Boosted, Forest

_ML = "ai.onnx.ml"
_OPERATORS = (("", 17), (_ML, 3))
_FORMAT = 8  # of the file: what any runtime since 2022 reads


def from_boosted(trees: Boosted) -> bytes:
    """Export boosted trees; they read float32 of shape (n, features).

    Outputs are ``variable``, the numbers predicted, of shape (n, 1); or ``label`` and
    ``probabilities``, the latter of shape (n, classes).
    """
    tensors = _or_a_leaf(trees.tensors, 0.0)
    sizes = tensors["nodes_per_tree"]
    nodes = _ensemble(
        tensors,
        tensors["value"][:, None],
        np.repeat(np.arange(len(sizes)) % trees.outputs, sizes)[:, None],
        aggregate_function="SUM",
        n_targets=trees.outputs,
        base_values_as_tensor=numpy_helper.from_array(np.full(trees.outputs, trees.base)),
    )
    if trees.classes is None:
        nodes += [_node("Identity", ["sums"], "variable")]
    elif trees.outputs == 1:
        nodes += [
            _node("Neg", ["sums"], "against"),
            _node("Concat", ["against", "sums"], "margins", axis=1),
            _node("Sigmoid", ["margins"], "probabilities"),
        ]
    else:
        nodes += [_node("Softmax", ["sums"], "probabilities", axis=1)]
    return _written(nodes, trees.features, trees.classes)


def from_forest(forest: Forest) -> bytes:
    """Export a forest; inputs and outputs are as in `from_boosted`."""
    outputs = forest.tensors["value"].shape[1]
    untold = np.full(outputs, 0.0 if forest.classes is None else 1 / outputs)
    tensors = _or_a_leaf(forest.tensors, untold)
    values = tensors["value"]
    nodes = _ensemble(
        tensors,
        values,
        np.broadcast_to(np.arange(outputs), values.shape),
        aggregate_function="AVERAGE",
        n_targets=outputs,
    )
    name = "variable" if forest.classes is None else "probabilities"
    nodes += [_node("Identity", ["sums"], name)]
    return _written(nodes, forest.features, forest.classes)


def _or_a_leaf(tensors: Mapping[str, Any], value: Any) -> Mapping[str, Any]:
    """Trees, or one of a single leaf where there is none, as ONNX wants at least one."""
    if len(tensors["nodes_per_tree"]):
        return tensors
    leaf = np.array([-1], np.int32)
    one = {"nodes_per_tree": -leaf, "threshold": np.zeros(1), "value": np.array([value])}
    return dict.fromkeys(("feature", "left", "right"), leaf) | one


def _ensemble(
    tensors: Mapping[str, Any],
    values: NDArray[np.float64],
    targets: NDArray[np.int64],
    **attributes: Any,
) -> list[NodeProto]:
    """Trees over ``x``, in float64, for thresholds and leaves are.

    Args:
        tensors: The node arrays of at least one tree.
        values: What each node adds, of shape (nodes, k).
        targets: To which outputs, of the same shape.
        attributes: How leaves make up outputs.
    """
    sizes = tensors["nodes_per_tree"].astype(np.int64)
    is_leaf = tensors["left"] < 0
    tree = np.repeat(np.arange(len(sizes)), sizes)
    place = np.arange(len(tree)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = np.repeat(np.flatnonzero(is_leaf), values.shape[1])
    return [
        _node("Cast", ["x"], "x64", to=TensorProto.DOUBLE),
        _node(
            "TreeEnsembleRegressor",
            ["x64"],
            "sums",
            domain=_ML,
            nodes_treeids=tree.tolist(),
            nodes_nodeids=place.tolist(),
            nodes_modes=np.where(is_leaf, "LEAF", "BRANCH_LEQ").tolist(),
            nodes_featureids=tensors["feature"].clip(min=0).tolist(),
            nodes_values_as_tensor=numpy_helper.from_array(tensors["threshold"]),
            nodes_truenodeids=tensors["left"].clip(min=0).tolist(),
            nodes_falsenodeids=tensors["right"].clip(min=0).tolist(),
            target_treeids=tree[each].tolist(),
            target_nodeids=place[each].tolist(),
            target_ids=targets[is_leaf].ravel().tolist(),
            target_weights_as_tensor=numpy_helper.from_array(values[is_leaf].ravel()),
            **attributes,
        ),
    ]


def _node(operator: str, inputs: Sequence[str], output: str, **attributes: Any) -> NodeProto:
    return helper.make_node(operator, inputs, [output], **attributes)


def _written(nodes: Sequence[NodeProto], features: int, classes: NDArray[Any] | None) -> bytes:
    """A model of these nodes, which predicts labels too where there are classes."""
    initial: list[TensorProto] = []
    if classes is None:
        outputs = [helper.make_tensor_value_info("variable", TensorProto.FLOAT, [None, 1])]
    else:
        labels = numpy_helper.from_array(
            classes.astype(object) if classes.dtype.kind in "US" else classes, "classes"
        )
        nodes = [
            *nodes,
            _node("ArgMax", ["probabilities"], "place", axis=1, keepdims=0),
            _node("Gather", ["classes", "place"], "label"),
        ]
        initial = [labels]
        outputs = [
            helper.make_tensor_value_info("label", labels.data_type, [None]),
            helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, [None, len(classes)]),
        ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [None, features])
    model = helper.make_model(
        helper.make_graph(nodes, "trees", [x], outputs, initial),
        opset_imports=[helper.make_opsetid(*operators) for operators in _OPERATORS],
        ir_version=_FORMAT,
        producer_name="colearn",
    )
    content: bytes = model.SerializeToString()
    return content
