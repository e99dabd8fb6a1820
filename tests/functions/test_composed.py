"""What operations do where NumPy and PyTorch set the example: odd axes, integers, infinities."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr

R: dict[str, Any] = {"requires_grad": True}
INF, NAN = math.inf, math.nan


def slope(function: Any, *xs: Any) -> Any:
    """The gradient of all entries together, of one input or of several."""
    leaves = [tr.Tensor(x, requires_grad=True) for x in xs]
    y = function(*leaves)
    y.backward(np.ones(y.shape))
    found = [np.zeros(x.shape) if x.grad is None else x.grad for x in leaves]
    return found[0].tolist() if len(found) == 1 else [g.tolist() for g in found]


# --- arguments as NumPy takes them ----------------------------------------------------------------


@pytest.mark.parametrize("make", [list, np.array, tr.Tensor], ids=["list", "array", "tensor"])
@pytest.mark.parametrize(
    ("ours", "numpys"),
    [
        (tr.mean, np.mean),
        (tr.std, np.std),
        (tr.prod, np.prod),
        (tr.cumsum, np.cumsum),
        (tr.any, np.any),
        (tr.all, np.all),
        (tr.isnan, np.isnan),
        (tr.argmax, np.argmax),
        (tr.min, np.min),
        (tr.flip, np.flip),
        (tr.ravel, np.ravel),
        (lambda x: tr.reshape(x, 1, -1), lambda x: np.reshape(x, (1, -1))),
        (lambda x: tr.expand_dims(x, 0), lambda x: np.expand_dims(x, 0)),
        (lambda x: tr.pad(x, 1), lambda x: np.pad(x, 1)),
        (lambda x: tr.astype(x, "f"), lambda x: np.asarray(x, "f")),
        (lambda x: tr.sigmoid(x), lambda x: 1 / (1 + np.exp(-np.asarray(x, float)))),
        (lambda x: tr.softmax(x), lambda x: np.exp(x) / np.exp(x).sum()),
        (lambda x: tr.log_softmax(x), lambda x: x - np.log(np.exp(x).sum())),
        (lambda x: tr.logsumexp(x), lambda x: np.log(np.exp(x).sum())),
        (tr.softplus, lambda x: np.logaddexp(0, x)),
        (tr.elu, lambda x: np.where(np.array(x) > 0, x, np.expm1(x))),
        (tr.leaky_relu, lambda x: np.where(np.array(x) > 0, x, 0.01 * np.array(x))),
    ],
)
@pytest.mark.parametrize("values", [[0.5, -1.0, 2.0], [3, 0, 2]], ids=["floats", "integers"])
def test_lists_arrays_tensors_and_integers(make: Any, ours: Any, numpys: Any, values: Any) -> None:
    found, wanted = ours(make(values)), numpys(values)
    assert isinstance(found, tr.Tensor) == (make is tr.Tensor)
    found = found.data if isinstance(found, tr.Tensor) else found
    np.testing.assert_allclose(found, wanted, rtol=1e-14)
    assert np.asarray(found).dtype.kind == np.asarray(wanted).dtype.kind


def test_numbers() -> None:
    assert tr.sigmoid(0.0) == 0.5
    assert tr.mean(2.0) == 2.0
    assert tr.softplus(0) == math.log(2)
    assert tr.logsumexp(1.5) == 1.5
    assert tr.softmax(3) == 1.0


@pytest.mark.parametrize("axis", [0, -1, None])
@pytest.mark.parametrize("name", "sum max min mean std prod softmax logsumexp cumsum".split())
def test_a_number_has_no_axes_but_takes_the_last(name: str, axis: int | None) -> None:
    assert slope(lambda x: getattr(tr, name)(x, axis), 1.5) in (0.0, 1.0)


@pytest.mark.parametrize("name", "sum max min mean var std norm prod softmax logsumexp".split())
def test_axes_may_be_numpys_integers(name: str) -> None:
    function, x = getattr(tr, name), [[1.0, 3.0], [2.0, 5.0]]
    for axis in (1, -1):
        assert slope(lambda t, a=axis: function(t, np.int64(a)) ** 2, x) == slope(
            lambda t, a=axis: function(t, a) ** 2, x
        )


def test_an_axis_that_is_not_there_is_refused() -> None:
    x = tr.Tensor([[1.0, 2.0]], **R)
    for call in (
        lambda: tr.flip(x, 5),
        lambda: tr.transpose(x, (0, 3)),
        lambda: tr.mean(x, 2),
        lambda: tr.softmax(x, 2),
        lambda: tr.roll(x, 1, 2),
        lambda: tr.repeat(x, 2, 2),
        lambda: tr.squeeze(x, 2),
        lambda: tr.swapaxes(x, 0, 2),
        lambda: tr.moveaxis(x, 0, 2),
        lambda: tr.prod(x, 2),
        lambda: tr.take_along_axis(x, np.array([[0]]), 2),
    ):
        with pytest.raises((ValueError, IndexError), match=r"axis [235]"):
            call()


def test_errors_name_the_operation_the_shape_and_the_step() -> None:
    x = tr.Tensor(np.ones((2, 3)), **R)
    for name, call in {
        "flip": lambda: x.flip(5),
        "split": lambda: x.split(2, axis=1),
        "squeeze": lambda: x.squeeze(0),
        "pad": lambda: x.pad(-1),
        "repeat": lambda: x.repeat([1, 2, 3]),
        "take_along_axis": lambda: x.take_along_axis([0], 1),
        "swapaxes": lambda: x.swapaxes(0, 2),
        "norm": lambda: x.norm(ord="fro"),
        "gelu": lambda: x.gelu("exact"),
        "sum": lambda: x.mean(5),  # of what it is composed, the operation at fault
        "softmax": lambda: x.softmax(5),
    }.items():
        message = rf"^in t=3: cannot {name} \(2, 3\): (?!in t=3)"
        with tr.step(3), pytest.raises((ValueError, IndexError, TypeError), match=message):
            call()


def test_more_arguments_than_there_are_names_for_are_refused() -> None:
    x = tr.Tensor([1.0])
    for call in (lambda: tr.maximum(x, x, x), lambda: tr.sum(x, 0, True, 1), lambda: x.tanh(x)):
        with pytest.raises(TypeError, match=r"takes \d input"):
            call()
    with pytest.raises(TypeError, match="each once"):
        tr.sum(x, 0, axis=0)


def test_transpose_and_reshape_take_a_tuple_or_numbers() -> None:
    x = tr.Tensor(np.arange(6.0).reshape(1, 2, 3))
    wanted = x.data.transpose(2, 0, 1)
    for found in (
        x.transpose(2, 0, 1),
        x.transpose((2, 0, 1)),
        x.transpose(-1, 0, 1),
        tr.transpose(x, [2, 0, 1]),
        tr.transpose(x, axes=(2, 0, 1)),
        x.transpose(np.int64(2), 0, 1),
    ):
        np.testing.assert_array_equal(found.data, wanted)
    assert x.transpose().shape == x.transpose(None).shape == (3, 2, 1)
    assert x.reshape(np.int64(6)).shape == x.reshape([6]).shape == (6,)


def test_concatenate_without_an_axis_joins_all_entries() -> None:
    parts = [[[1.0, 2.0]], [[3.0], [4.0]]]
    assert tr.concatenate([tr.Tensor(p) for p in parts], axis=None).data.tolist() == [1, 2, 3, 4]
    weights = np.array([1.0, 2.0, 3.0, 4.0])
    found = slope(lambda a, b: tr.concatenate([a, b], axis=None) * weights, *parts)
    assert found == [[[1.0, 2.0]], [[3.0], [4.0]]]


def test_lists_are_constants_at_second_order_too() -> None:
    for function in (lambda x: x @ [3.0, 4.0], lambda x: x ** [3.0, 2.0], lambda x: x * [1, 2]):
        x = tr.Tensor([1.0, 2.0], **R)
        (first,) = tr.grad((function(x) ** 2).sum(), x, create_graph=True)
        (second,) = tr.grad(first.sum(), x)
        again = tr.hessian(lambda x, f=function: (f(x) ** 2).sum(), [1.0, 2.0]).sum(axis=0)
        np.testing.assert_allclose(second.data, again)


def test_axes_of_length_zero_in_products() -> None:
    a, b = np.ones((4, 2, 0)), np.ones((0, 3))
    assert tr.matmul(tr.Tensor(a), tr.Tensor(b)).data.tolist() == np.zeros((4, 2, 3)).tolist()
    assert [np.shape(g) for g in slope(tr.matmul, a, b)] == [(4, 2, 0), (0,)]


def test_pad_refuses_to_take_entries_away() -> None:
    for mode in ("constant", "edge"):
        with pytest.raises(ValueError, match="negative"):
            tr.pad(tr.Tensor([1.0, 2.0]), (-1, 0), mode)


# --- values at the edges --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "x", "y", "dy"),
    [
        (tr.softplus, [-INF, INF, -800.0, 800.0], [0.0, INF, 0.0, 800.0], [0.0, 1.0, 0.0, 1.0]),
        (tr.elu, [-INF, INF, 800.0], [-1.0, INF, 800.0], [0.0, 1.0, 1.0]),
        (tr.leaky_relu, [-INF, INF], [-INF, INF], [0.01, 1.0]),
        (tr.clip, [-INF, INF], [-INF, INF], [1.0, 1.0]),
        (tr.sigmoid, [-1e300, INF], [math.exp(-709), 1.0], [math.exp(-709), 0.0]),
        (tr.log_softmax, [0.0, -INF], [0.0, -INF], [-1.0, 1.0]),
        (tr.softmax, [0.0, -INF], [1.0, 0.0], [0.0, 0.0]),
        (tr.logsumexp, [0.0, -INF], 0.0, [1.0, 0.0]),
        (tr.logsumexp, [-INF, -INF], -INF, [0.0, 0.0]),
        (tr.std, [2.0, 2.0], 0.0, [0.0, 0.0]),
        (tr.norm, [0.0, 0.0], 0.0, [0.0, 0.0]),
        (lambda x: tr.norm(x, ord=3), [0.0, 0.0], 0.0, [0.0, 0.0]),
        (lambda x: tr.norm(x, ord=1), [0.0, -2.0], 2.0, [0.0, -1.0]),
        (lambda x: tr.norm(x, ord=INF), [1.0, -2.0], 2.0, [0.0, -1.0]),
        (lambda x: tr.norm(x, ord=-INF), [1.0, -2.0], 1.0, [1.0, 0.0]),
        (tr.prod, [2.0, 0.0, 3.0, 5.0], 0.0, [0.0, 30.0, 0.0, 0.0]),
        (tr.prod, [0.0, 0.0, 3.0], 0.0, [0.0, 0.0, 0.0]),
        (tr.prod, [], 1.0, []),
    ],
)
def test_at_the_edges(function: Any, x: list[float], y: Any, dy: list[float]) -> None:
    np.testing.assert_allclose(function(tr.Tensor(x)).data, y, rtol=1e-12)
    np.testing.assert_allclose(slope(function, x), dy, rtol=1e-12)


def test_a_negative_base_has_no_derivative_by_the_exponent() -> None:
    x = tr.Tensor(2.0, **R)
    y = (-2.0) ** x
    y.backward()
    assert y.item() == 4.0
    assert math.isnan(float(x.grad))


def test_second_derivatives_of_a_power_are_symmetric() -> None:
    for base, exponent in ((2.0, 0.0), (2.0, 1.0), (0.5, 3.0)):
        found = tr.hessian(lambda v: v[0] ** v[1], [base, exponent])
        mixed = base ** (exponent - 1) * (1 + exponent * math.log(base))
        np.testing.assert_allclose(found[0, 1], mixed)
        np.testing.assert_allclose(found[1, 0], mixed)


def test_small_numbers_keep_their_digits() -> None:
    assert tr.log1p(1e-300) == tr.expm1(1e-300) == 1e-300
    assert tr.elu(tr.Tensor(-1e-20)).item() == -1e-20


@pytest.mark.parametrize("kind", "bBhHiIlL")
def test_the_smallest_of_any_integers(kind: str) -> None:
    info = np.iinfo(kind)
    x = np.array([info.max, info.min, 3], kind)
    assert tr.min(tr.Tensor(x)).item() == info.min
    assert tr.clip(tr.Tensor(x), min=2).data.tolist() == np.clip(x, 2, None).tolist()
    assert tr.clip(tr.Tensor(x), max=2).dtype == x.dtype


def test_bounds_of_clip_are_differentiated() -> None:
    x, low, high = [-1.0, 0.5, 3.0], [0.0, 0.0, 0.0], [1.0, 1.0, 1.0]
    assert slope(tr.clip, x, low, high) == [[0.0, 1.0, 0.0], [1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    assert slope(lambda x, low: tr.clip(x, min=low), x, 0.0) == [[0.0, 1.0, 1.0], 1.0]
    assert slope(lambda x, high: x.clip(max=high), x, 1.0) == [[1.0, 1.0, 0.0], 1.0]


def test_take_along_axis_broadcasts_as_numpy_does() -> None:
    rng = np.random.default_rng(0)
    for shape, indices, axis in (
        ((3, 4), (1, 2), 1),
        ((1, 4), (3, 2), -1),
        ((2, 1, 4), (2, 3, 4), 1),
        ((2, 3), (5,), None),
    ):
        x = rng.normal(size=shape)
        at = rng.integers(-1, shape[axis] if axis is not None else x.size, size=indices) % (
            shape[axis] if axis is not None else x.size
        )
        found = tr.take_along_axis(tr.Tensor(x), at, axis)
        np.testing.assert_array_equal(found.data, np.take_along_axis(x, at, axis))


# --- einsum ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", ((2, 3), (3, 4))),
        ("ij,jk", ((2, 3), (3, 4))),
        ("ba", ((2, 3),)),
        ("ii", ((3, 3),)),
        ("ii->i", ((3, 3),)),
        ("iji->j", ((2, 3, 2),)),
        ("iij,jk->ik", ((2, 2, 3), (3, 4))),
        ("...ij,...jk->...ik", ((5, 1, 2, 3), (4, 3, 2))),
        ("...ij,jk", ((5, 2, 3), (3, 2))),
        ("i...,i...->...", ((2, 3), (2, 3))),
        ("...,...", ((2, 3), (3,))),
        ("ij,jk,kl->il", ((2, 3), (3, 4), (4, 2))),
        ("bi,ij,bj->b", ((5, 2), (2, 3), (5, 3))),
        ("i,j,k->kij", ((2,), (3,), (4,))),
        ("a,a,a", ((3,), (3,), (3,))),
        ("ij,ij->ij", ((2, 3), (2, 3))),
        ("ij,ij->ij", ((2, 1), (2, 3))),
        ("ij->", ((0, 3),)),
        (" i j , j -> i ", ((2, 3), (3,))),
        (",i->i", ((), (3,))),
    ],
)
def test_einsum_is_numpys(subscripts: str, shapes: Any) -> None:
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=shape) for shape in shapes]
    found = tr.einsum(subscripts, *(tr.Tensor(a) for a in arrays))
    np.testing.assert_allclose(found.data, np.einsum(subscripts, *arrays), atol=1e-13)
    leaves = [tr.Tensor(a, requires_grad=True) for a in arrays]
    u = rng.normal(size=found.shape)
    tr.einsum(subscripts, *leaves).backward(u)
    for i, leaf in enumerate(leaves):  # linear in each: a step of any length gives the slope
        direction = rng.normal(size=leaf.shape)
        moved = [a + direction if i == j else a for j, a in enumerate(arrays)]
        change = np.einsum(subscripts, *moved) - np.einsum(subscripts, *arrays)
        if subscripts.count(",") + 1 == len({id(a) for a in arrays}):
            assert leaf.grad is not None
            np.testing.assert_allclose((leaf.grad * direction).sum(), (u * change).sum(), atol=1e-9)


@pytest.mark.parametrize(
    ("subscripts", "shapes"),
    [
        ("ij,jk->ik", ((2, 3), (4, 5))),
        ("ij->k", ((2, 3),)),
        ("ij->ii", ((2, 3),)),
        ("ij,j->i", ((2, 3),)),
        ("ij", ((2, 3), (3,))),
        ("ijk->i", ((2, 3),)),
        ("i..j", ((2, 3),)),
        ("i1->i", ((2, 3),)),
    ],
)
def test_einsum_says_what_does_not_fit(subscripts: str, shapes: Any) -> None:
    with pytest.raises(ValueError, match="expected as many terms"):
        tr.einsum(subscripts, *(np.ones(shape) for shape in shapes))


@pytest.mark.parametrize("function", [tr.softmax, tr.log_softmax, tr.logsumexp])
def test_the_rules_serve_three_orders(function: Any) -> None:
    """Each derivative is the complex step, exact to rounding, of the one before it."""
    x, v, step = np.array([0.3, -1.0, 2.0]), np.array([1.0, 2.0, -1.0]), 1e-30

    def first(leaf: tr.Tensor) -> tr.Tensor:
        return tr.grad((function(leaf) ** 2 * v).sum(), leaf, create_graph=True)[0]

    def second(leaf: tr.Tensor) -> tr.Tensor:
        return tr.grad((first(leaf) * v).sum(), leaf, create_graph=True)[0]

    for below in (lambda leaf: function(leaf) ** 2, first, second):
        leaf = tr.Tensor(x, requires_grad=True)
        (found,) = tr.grad((below(leaf) * v).sum(), leaf)
        for i in range(3):
            moved = x + 1j * step * (np.arange(3) == i)
            wanted = (below(tr.Tensor(moved, requires_grad=True)).data * v).sum().imag / step
            np.testing.assert_allclose(found.data[i], wanted, rtol=1e-12)
