"""Random programs, drawn by hypothesis: against a naive engine written here, and PyTorch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr

# --- a naive engine -----------------------------------------------------------------------------
# Every node knows its parents and, for each, the Jacobian of its flattened value: no rules in
# common with the engine's, no accumulation, one recursive sum over all paths.


@dataclass(eq=False)
class Node:
    value: np.ndarray
    parents: list[tuple[Node, np.ndarray]]


def jacobian(f: Any, values: list[np.ndarray], which: int) -> np.ndarray:
    """Column by column, by a complex step."""
    columns = []
    for index in np.ndindex(values[which].shape):
        moved = [v.astype(complex) for v in values]
        moved[which][index] += 1e-30j
        columns.append(np.ravel(f(*moved)).imag / 1e-30)
    return np.stack(columns, axis=-1)


def apply(f: Any, *inputs: Node) -> Node:
    values = [node.value for node in inputs]
    edges = [(node, jacobian(f, values, i)) for i, node in enumerate(inputs)]
    return Node(np.asarray(f(*values)), edges)


def derivative(output: Node, leaf: Node) -> np.ndarray:
    """The Jacobian of `output` by `leaf`: the sum over all paths of products of Jacobians."""
    if output is leaf:
        return np.eye(leaf.value.size)
    total = np.zeros((output.value.size, leaf.value.size))
    for parent, edge in output.parents:
        total += edge @ derivative(parent, leaf)
    return total


# --- programs -----------------------------------------------------------------------------------

SHAPE = (2, 3)
# Operations on arrays of one shape; each is written once and works on arrays, tensors and PyTorch.
OPERATIONS: dict[str, tuple[int, Any]] = {
    "add": (2, lambda m, a, b: a + b),
    "multiply": (2, lambda m, a, b: a * b),
    "subtract": (2, lambda m, a, b: a - b),
    "tanh": (1, lambda m, a: m.tanh(a)),
    "sine": (1, lambda m, a: m.sin(a)),
    "square": (1, lambda m, a: a**2),
    "bend": (1, lambda m, a: m.exp(-a * a)),
    "row": (1, lambda m, a: a + a[0]),
    "column": (1, lambda m, a: a * a[:, 1:2]),
    "turn": (1, lambda m, a: (a.reshape(3, 2) * 0.5).T),
    "mix": (2, lambda m, a, b: m.tanh(a @ b.T) @ b),
    "mean": (1, lambda m, a: a - a.sum(0) / 2.0),
    "twice": (1, lambda m, a: m.stack([a, a * a])[1] + a),
}


@st.composite
def programs(draw: Any) -> list[tuple[str, tuple[int, ...]]]:
    """Instructions: an operation, and which earlier results it reads (0 and 1 are the leaves)."""
    length = draw(st.integers(1, 7))
    program = []
    for k in range(length):
        name = draw(st.sampled_from(sorted(OPERATIONS)))
        reads = st.tuples(*[st.integers(0, k + 1)] * OPERATIONS[name][0])
        program.append((name, draw(reads)))
    return program


def run(module: Any, program: list[Any], leaves: list[Any]) -> Any:
    results = list(leaves)
    for name, reads in program:
        results.append(OPERATIONS[name][1](module, *(results[k] for k in reads)))
    return results[-1]


def arrays(seed: int) -> list[np.ndarray]:
    rng = np.random.default_rng(seed)
    return [rng.uniform(-1, 1, SHAPE) for _ in range(2)]


@settings(max_examples=80, deadline=None, derandomize=True)
@given(programs(), st.integers(0, 1000))
def test_a_program_agrees_with_the_naive_engine(program: Any, seed: int) -> None:
    xs = [tr.Tensor(x, requires_grad=True) for x in arrays(seed)]
    u = np.random.default_rng(seed).standard_normal(SHAPE)
    y = run(tr, program, xs)

    nodes = [Node(x, []) for x in arrays(seed)]
    results = list(nodes)
    for name, reads in program:
        operation = OPERATIONS[name][1]
        results.append(apply(lambda *v, f=operation: f(np, *v), *(results[k] for k in reads)))
    np.testing.assert_allclose(y.data, results[-1].value, rtol=1e-12, atol=1e-12)

    if y.requires_grad:
        y.backward(u)
    for x, node in zip(xs, nodes, strict=True):
        expected = (u.ravel() @ derivative(results[-1], node)).reshape(SHAPE)
        found = np.zeros(SHAPE) if x.grad is None else x.grad
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-10)


@pytest.mark.oracle
@settings(max_examples=150, deadline=None, derandomize=True)
@given(programs(), st.integers(0, 1000))
def test_a_program_agrees_with_pytorch_to_second_order(program: Any, seed: int) -> None:
    torch: Any = pytest.importorskip("torch")
    xs = [tr.Tensor(x, requires_grad=True) for x in arrays(seed)]
    ts = [torch.tensor(x, requires_grad=True) for x in arrays(seed)]
    y, s = run(tr, program, xs), run(torch, program, ts)
    all_slopes = torch.autograd.grad(s.sum(), ts, allow_unused=True, retain_graph=True)
    used = [i for i, slope in enumerate(all_slopes) if slope is not None]
    first = tr.grad(y.sum(), [xs[i] for i in used], create_graph=True)
    expected = torch.autograd.grad(s.sum(), [ts[i] for i in used], create_graph=True)
    for g, e in zip(first, expected, strict=True):
        np.testing.assert_allclose(g.data, e.detach().numpy(), rtol=1e-11, atol=1e-11)
    wanted = sum((e * e).sum() for e in expected)
    if wanted.requires_grad:
        wanted.backward()
        sum((g * g).sum() for g in first).backward()  # type: ignore[union-attr]
        for x, t in zip(xs, ts, strict=True):
            if t.grad is not None:
                found = np.zeros(SHAPE) if x.grad is None else x.grad
                np.testing.assert_allclose(found, t.grad.numpy(), rtol=1e-10, atol=1e-10)
