"""Modules: parameters by attribute, state dicts, and what they print."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

from ..cells import CELLS


class Net(nn.Module):
    def __init__(self) -> None:
        self.cells = [nn.ElmanCell(2, 3, rng=0), nn.ElmanCell(3, 3, rng=1)]
        self.heads = {"left": nn.Linear(3, 1, rng=2)}
        self.tied = self.cells[1].W_hh
        self.scale = tr.Tensor(1.0, requires_grad=True)
        self.constant = tr.Tensor(2.0)


def test_parameters_are_found_by_path_once_each() -> None:
    assert list(Net().named_parameters()) == [
        "cells.0.W_xh", "cells.0.W_hh", "cells.0.b",
        "cells.1.W_xh", "cells.1.W_hh", "cells.1.b",
        "heads.left.W", "heads.left.b", "scale",
    ]  # fmt: skip


def test_a_parameter_takes_the_name_of_its_attribute() -> None:
    net = Net()
    assert net.scale.name == "scale"
    assert net.tied.name == "W_hh"


def test_a_state_goes_there_and_back() -> None:
    a, b = Net(), Net()
    for p in a.parameters():
        p.data = p.data + 1.0
    b.load_state_dict(a.state_dict())
    for p, q in zip(a.parameters(), b.parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def test_all_that_does_not_fit_is_named_at_once_and_nothing_changes() -> None:
    net = Net()
    before = net.state_dict()
    state = dict(before) | {"extra": np.ones(1), "cells.0.b": np.ones(7)}
    del state["scale"]
    with pytest.raises(ValueError, match=r"scale is missing; extra is unexpected; cells\.0\.b has"):
        net.load_state_dict(state)
    for name, array in net.state_dict().items():
        assert array is before[name]


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (np.ones(3, complex), "holds complex128 instead of float32"),
        (np.array(["a", "b", "c"]), "holds <U1"),
        (np.array([1.0, 1e300, 0.0]), "values too large for float32"),
        (np.array([np.inf, 1e300, 0.0]), "values too large for float32"),
    ],
)
def test_values_that_the_dtype_cannot_hold_change_nothing(value: object, message: str) -> None:
    cell = nn.ElmanCell(2, 3, rng=0, dtype=np.float32)
    before = cell.state_dict()
    with pytest.raises(ValueError, match=f"b {message}|b has {message}"):
        cell.load_state_dict(before | {"b": value})
    assert all(array is before[name] for name, array in cell.state_dict().items())
    cell.load_state_dict(before | {"b": np.array([1.0, np.inf, 2.0])})  # as it was saved


def test_two_parameters_of_one_path_are_refused_by_name() -> None:
    net = nn.Module()
    net.a = {"b.c": tr.nn.parameter([1.0]), "b": {"c": tr.nn.parameter([2.0])}}
    with pytest.raises(ValueError, match=r"two parameters of Module have the path 'a\.b\.c'"):
        net.parameters()


def test_a_computed_tensor_is_no_parameter() -> None:
    """`self.last = h` for later inspection changes nothing, when it is unpickled neither."""
    cell = nn.ElmanCell(2, 3, rng=0)
    names = list(cell.named_parameters())
    cell.last, _ = cell(tr.Tensor(np.ones((1, 2))), cell.initial_state(1))
    for twin in (cell, pickle.loads(pickle.dumps(cell))):
        assert list(twin.named_parameters()) == names
        assert "last" not in repr(twin)


def test_parameters_are_kept_in_c_order() -> None:
    """Whatever order they come in: optimisers and checkpoints see one."""
    cell = nn.ElmanCell(3, 5, rng=0)
    cell.load_state_dict({k: np.asfortranarray(v) for k, v in cell.state_dict().items()})
    nn.from_torch(cell, {k: np.asfortranarray(v) for k, v in nn.to_torch(cell).items()})
    wide = nn.parameter(nn.orthogonal(np.random.default_rng(0), (3, 5)))
    for p in (*cell.parameters(), wide, nn.parameter(np.ones((2, 3)).T)):
        assert p.data.flags.c_contiguous
    assert nn.orthogonal(np.random.default_rng(0), (3, 5)).flags.c_contiguous


@tr.primitive("tanh", rules=[lambda g, y, x: g * (1.0 - y * y / 4) * 2])
def twice_tanh(x: np.ndarray, /) -> np.ndarray:
    return 2 * np.tanh(x)


def test_a_copy_keeps_an_operation_of_its_owner_whatever_its_name() -> None:
    cell = nn.ElmanCell(2, 3, nonlinearity=twice_tanh, rng=0)
    for twin in (copy.deepcopy(cell), pickle.loads(pickle.dumps(cell))):
        assert twin.nonlinearity is twice_tanh


@pytest.mark.parametrize("name", ["backward", "no such", "sum", "add", "reshape", "getitem"])
def test_only_what_keeps_a_shape_is_a_nonlinearity_by_name(name: str) -> None:
    with pytest.raises(ValueError, match=f"'{name}' was given as a nonlinearity"):
        nn.ElmanCell(2, 3, nonlinearity=name)


def test_first_states_are_named_alike() -> None:
    names = {kind: nn_names(CELLS[kind]().initial_state(1)) for kind in CELLS}
    assert names["elman"] == names["gru"] == names["gru before"] == ["h"]
    assert names["lstm"] == names["peephole"] == ["h", "c"]
    assert names["jordan"] == ["y"]


def nn_names(state: object) -> list[str | None]:
    return [s.name for s in (state if isinstance(state, tuple) else (state,))]  # type: ignore[attr-defined]


def test_the_tree_is_printed_with_shapes_and_counts() -> None:
    text = repr(Net())
    assert text.startswith("Net: 44 parameters")
    assert "cells.0 ElmanCell: 18 parameters" in text
    assert "W_xh (2, 3) float64" in text


def test_modules_pickle_and_copy() -> None:
    net = nn.Stacked(nn.ElmanCell(2, 3, rng=0), nn.LSTMCell(3, 3, rng=1))
    for twin in (pickle.loads(pickle.dumps(net)), copy.deepcopy(net)):
        a, _ = net(np.ones((4, 1, 2)))
        b, _ = twin(np.ones((4, 1, 2)))
        np.testing.assert_array_equal(a[-1].data, b[-1].data)


def test_an_embedding_adds_repeated_words_up_and_touches_no_other_row() -> None:
    table = nn.Embedding(1000, 3, rng=0)
    words = np.array([[4, 4], [9, 4]])
    u = np.random.default_rng(0).standard_normal((2, 2, 3))
    (table(words) * u).sum().backward()
    expected = np.zeros((1000, 3))
    for word, g in zip(words.ravel(), u.reshape(-1, 3), strict=True):
        expected[word] += g
    np.testing.assert_allclose(table.W.grad, expected, rtol=1e-15)


def test_a_word_for_padding_starts_at_zero_and_learns_nothing() -> None:
    table = nn.Embedding(5, 2, padding_idx=-1, rng=0)
    vectors = table([[1, 4], [4, 1]])
    assert not vectors.data[0, 1].any()
    vectors.sum().backward()
    np.testing.assert_array_equal(table.W.grad, [[0, 0], [2, 2], [0, 0], [0, 0], [0, 0]])


def test_a_single_word_is_looked_up() -> None:
    table = nn.Embedding(5, 2, rng=0)
    table(3).sum().backward()
    np.testing.assert_array_equal(table.W.grad, np.eye(5)[3][:, None] * np.ones(2))


@pytest.mark.parametrize(
    ("words", "error", "message"),
    [
        ([1.5], TypeError, "looks up integers, but was given float64"),
        ([10], IndexError, "words from 10 to 10, but its table has 10 rows"),
        ([-1], IndexError, "words from -1"),
    ],
)
def test_words_that_are_not_in_the_table(words: object, error: type, message: str) -> None:
    with pytest.raises(error, match=message):
        nn.Embedding(10, 2)(words)


@pytest.mark.parametrize("make", [nn.glorot, nn.he, nn.orthogonal])
def test_initialisers_draw_from_the_generator_given(make: object) -> None:
    draws = [make(np.random.default_rng(3), (4, 6)) for _ in range(2)]  # type: ignore[operator]
    np.testing.assert_array_equal(*draws)


def test_variances_of_the_initialisers_are_the_papers() -> None:
    rng = np.random.default_rng(0)
    assert nn.glorot(rng, (300, 500)).var() == pytest.approx(2 / 800, rel=0.02)
    assert nn.he(rng, (300, 500)).var() == pytest.approx(2 / 300, rel=0.02)
    for shape in ((3, 5), (5, 3)):
        Q = nn.orthogonal(rng, shape, gain=2.0)
        short = Q @ Q.T if shape[0] < shape[1] else Q.T @ Q
        np.testing.assert_allclose(short, 4 * np.eye(3), atol=1e-14)
