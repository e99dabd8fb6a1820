"""ONNX's reference evaluator as oracle where PyTorch has none: peepholes, both GRU conventions."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from tinygrad_rnn import nn

onnx: Any = pytest.importorskip("onnx")
reference: Any = pytest.importorskip("onnx.reference")
pytestmark = pytest.mark.oracle

T, B, I, H = 5, 2, 3, 4  # noqa: E741


def evaluate(kind: str, inputs: dict[str, np.ndarray], **attributes: Any) -> np.ndarray:
    """Every output (T, B, H) of an ONNX operator, by its reference implementation."""
    helper = onnx.helper
    order = {"LSTM": ["X", "W", "R", "B", "", "", "", "P"], "GRU": ["X", "W", "R", "B"]}[kind]
    node = helper.make_node(kind, order, ["Y"], hidden_size=H, **attributes)

    def info(name: str, shape: Any) -> Any:
        return helper.make_tensor_value_info(name, onnx.TensorProto.DOUBLE, shape)

    graph = helper.make_graph(
        [node], "cell", [info(k, v.shape) for k, v in inputs.items()], [info("Y", None)]
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)])
    (found,) = reference.ReferenceEvaluator(model).run(None, inputs)
    return found[:, 0]


def gates(array: np.ndarray, order: str, ours: str) -> np.ndarray:
    """Our gates side by side, in the order of ONNX, one direction, transposed."""
    size = array.shape[-1] // len(ours)
    parts = [array[..., ours.index(g) * size : (ours.index(g) + 1) * size] for g in order]
    return np.concatenate(parts, axis=-1).T[None]


def outputs(cell: Any, xs: np.ndarray) -> np.ndarray:
    return np.stack([h.data for h in nn.unroll(cell, xs)[0]])


def test_the_peephole_lstm_is_onnxs() -> None:
    cell, xs = nn.PeepholeLSTMCell(I, H, rng=0), np.random.default_rng(1).standard_normal((T, B, I))
    b = gates(cell.b.data, "iofg", "ifgo")
    inputs = {
        "X": xs,
        "W": gates(cell.W_xh.data, "iofg", "ifgo"),
        "R": gates(cell.W_hh.data, "iofg", "ifgo"),
        "B": np.concatenate([b, 0 * b], axis=-1),
        "P": np.concatenate([cell.p_i.data, cell.p_o.data, cell.p_f.data])[None],
    }
    np.testing.assert_allclose(outputs(cell, xs), evaluate("LSTM", inputs), rtol=1e-12)


@pytest.mark.parametrize("reset", ["after", "before"])
def test_both_places_of_the_reset_gate_are_onnxs(reset: Any) -> None:
    cell, xs = (
        nn.GRUCell(I, H, reset=reset, rng=0),
        np.random.default_rng(1).standard_normal((T, B, I)),
    )
    if reset == "after":
        W_hh, b_hn = cell.W_hh.data, cell.b_hn.data
    else:
        W_hh, b_hn = np.concatenate([cell.W_hh.data, cell.W_hn.data], axis=1), np.zeros(H)
    inputs = {
        "X": xs,
        "W": gates(cell.W_xh.data, "zrn", "rzn"),
        "R": gates(W_hh, "zrn", "rzn"),
        "B": np.concatenate(
            [gates(cell.b.data, "zrn", "rzn"), np.zeros((1, 2 * H)), b_hn[None]], axis=-1
        ),
    }
    found = evaluate("GRU", inputs, linear_before_reset=int(reset == "after"))
    np.testing.assert_allclose(outputs(cell, xs), found, rtol=1e-12)
