"""PyTorch's own samples of its operations, run through ours.

PyTorch tests itself on these (`op_db`): empty axes, numbers without axes, repeated indices, broad
and narrow shapes. For every operation that both have, the values and the first and second
derivatives along random directions must agree on all of them. `OURS` writes PyTorch's call with
our names; what it does not list, we do not offer.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from fnmatch import fnmatch
from functools import reduce
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn.functions.transforms import pull

torch: Any = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's own tests need it
pytestmark = pytest.mark.oracle


class NotOfferedError(Exception):
    """This sample asks for an option of PyTorch's that we do not have."""


def offered(condition: Any) -> None:
    if not condition:
        raise NotOfferedError


def axes(dim: Any) -> Any:
    """PyTorch's `dim` as `axis`: no axes at all stand for every one."""
    if isinstance(dim, int) or dim is None or not dim:
        return dim if isinstance(dim, int) else None
    return dim[0] if len(dim) == 1 else tuple(dim)


def of_axes(function: Callable[..., Any]) -> Callable[..., Any]:
    return lambda x, dim=None, keepdim=False, dtype=None: function(x, axes(dim), keepdim)


def of_variance(function: Callable[..., Any], mean: bool = False) -> Callable[..., Any]:
    def call(x: Any, dim: Any = None, unbiased: Any = None, keepdim=False, correction: Any = 1):
        if isinstance(dim, bool):
            dim, unbiased = None, dim
        ddof = correction if unbiased is None else int(unbiased)
        found = function(x, axes(dim), 1 if ddof is None else ddof, keepdim)
        return (found, tr.mean(x, axes(dim), keepdim)) if mean else found

    return call


def vector_norm(x: Any, ord: Any = 2, dim: Any = None, keepdim: bool = False, dtype: Any = None):
    return tr.norm(x, axes(dim), keepdim, ord)


def norm(x: Any, p: Any = "fro", dim: Any = None, keepdim: bool = False, dtype: Any = None) -> Any:
    return tr.norm(x, axes(dim), keepdim, 2 if p == "fro" or p is None else p)


def pad(x: Any, widths: Any, mode: str = "constant", value: Any = None) -> Any:
    offered(min(widths, default=0) >= 0)
    pairs = list(itertools.batched(widths, 2)) if hasattr(itertools, "batched") else [
        (widths[i], widths[i + 1]) for i in range(0, len(widths), 2)
    ]  # fmt: skip
    pairs = [(0, 0)] * (x.ndim - len(pairs)) + pairs[::-1]
    mode = {"replicate": "edge", "circular": "wrap"}.get(mode, mode)
    return tr.pad(x, pairs, mode, **({} if mode != "constant" else {"constant_values": value or 0}))


def split_at(x: Any, cuts: Any, dim: int = 0) -> Any:
    cuts = cuts.item() if getattr(cuts, "ndim", 1) == 0 else cuts
    if np.ndim(cuts):
        return tr.split(x, [int(c) for c in np.asarray(cuts)], dim)
    offered(x.shape[dim] % cuts == 0)
    return tr.split(x, cuts, dim)


def split_sizes(x: Any, sizes: Any, dim: int = 0) -> Any:
    if isinstance(sizes, int):
        sizes = [sizes] * max(-(-x.shape[dim] // sizes), 1)
    return tr.split(x, list(itertools.accumulate(sizes))[:-1], dim)


def where(a: Any, condition: Any, b: Any) -> Any:
    return tr.where(condition, a, b)


def take(x: Any, index: Any) -> Any:
    return x.ravel()[index]


def index_select(x: Any, dim: int, index: Any) -> Any:
    return x if not x.ndim else x[(slice(None),) * (dim % x.ndim) + (index.ravel(),)]


def tile(x: Any, reps: Any, *more: Any) -> Any:
    return tr.tile(x, (reps, *more) if isinstance(reps, int) else tuple(reps))


def flatten(x: Any, start_dim: int = 0, end_dim: int = -1) -> Any:
    offered(start_dim == 0 and end_dim in (-1, x.ndim - 1))
    return x.flatten()


def repeat_interleave(x: Any, repeats: Any, dim: Any = None, output_size: Any = None) -> Any:
    return tr.repeat(x, repeats if isinstance(repeats, int) else repeats.numpy(), dim)


OURS: dict[str, Callable[..., Any]] = {
    # --- operators
    "add": lambda a, b, alpha=1: a + alpha * b,
    "sub": lambda a, b, alpha=1: a - alpha * b,
    "rsub": lambda a, b, alpha=1: b - alpha * a,
    "mul": lambda a, b: a * b,
    "div/no_rounding_mode": lambda a, b, rounding_mode=None: a / b,
    "true_divide": lambda a, b: a / b,
    "pow": lambda a, b: a**b,
    "float_power": lambda a, b: tr.power(a, b),
    "matmul": lambda a, b: a @ b,
    "__radd__": lambda a, b: b + a,
    "__rsub__": lambda a, b: b - a,
    "__rmul__": lambda a, b: b * a,
    "__rdiv__": lambda a, b: b / a,
    "__rpow__": lambda a, b: b**a,
    "__rmatmul__": lambda a, b: b @ a,
    "positive": lambda x: +x,
    "clone": lambda x, memory_format=None: +x,
    "bitwise_and": lambda a, b: a & b,
    "bitwise_or": lambda a, b: a | b,
    "bitwise_not": lambda x: ~x,
    "__rand__": lambda a, b: b & a,
    "__ror__": lambda a, b: b | a,
    "neg": tr.negative,
    "reciprocal": lambda x: 1 / x,
    "square": lambda x: x**2,
    "eq": tr.equal,
    "ne": tr.not_equal,
    "lt": tr.less,
    "le": tr.less_equal,
    "gt": tr.greater,
    "ge": tr.greater_equal,
    "addcmul": lambda x, a, b, value=1: x + value * a * b,
    "addcdiv": lambda x, a, b, value=1: x + value * a / b,
    "lerp": lambda a, b, weight: a + weight * (b - a),
    # --- functions of one number
    **{
        name: getattr(tr, name)
        for name in ("abs", "cos", "sin", "exp", "log", "sqrt", "tanh", "sign", "log1p", "expm1")
    },
    "erf": tr.erf,
    "sigmoid": tr.sigmoid,
    "isnan": tr.isnan,
    "nn.functional.relu": lambda x, inplace=False: tr.relu(x),
    "nn.functional.logsigmoid": lambda x: -tr.softplus(-x),
    "nn.functional.softplus": lambda x, beta=1, threshold=20: tr.where(
        beta * x > threshold, x, tr.softplus(beta * x) / beta
    ),
    "nn.functional.leaky_relu": tr.leaky_relu,
    "nn.functional.elu": tr.elu,
    "nn.functional.gelu": tr.gelu,
    "nn.functional.silu": lambda x: x * tr.sigmoid(x),
    # --- choices
    "where": where,
    "masked_fill": lambda x, mask, value: tr.where(mask, value, x),
    "maximum": tr.maximum,
    "minimum": tr.minimum,
    "max/binary": tr.maximum,
    "min/binary": tr.minimum,
    "clamp": tr.clip,
    "clamp_min": lambda x, min: tr.clip(x, min=min),
    "clamp_max": lambda x, max: tr.clip(x, max=max),
    # --- products
    "mm": tr.matmul,
    "bmm": tr.matmul,
    "mv": tr.matmul,
    "dot": tr.matmul,
    "outer": tr.outer,
    "einsum": lambda operands, subscripts: tr.einsum(subscripts, *operands),
    "linalg.multi_dot": lambda factors: reduce(tr.matmul, factors),
    "nn.functional.linear": lambda x, w, b=0.0: x @ w.T + b,
    # --- reductions
    **{name: of_axes(getattr(tr, name)) for name in ("sum", "mean", "any", "all", "argmax")},
    "amax": of_axes(tr.max),
    "amin": of_axes(tr.min),
    "prod": of_axes(tr.prod),
    "max/reduction_no_dim": tr.max,
    "min/reduction_no_dim": tr.min,
    "var": of_variance(tr.var),
    "var/unbiased": of_variance(tr.var),
    "var_mean": of_variance(tr.var, mean=True),
    "var_mean/unbiased": of_variance(tr.var, mean=True),
    "std": of_variance(tr.std),
    "std/unbiased": of_variance(tr.std),
    "std_mean": of_variance(tr.std, mean=True),
    "std_mean/unbiased": of_variance(tr.std, mean=True),
    "linalg.vector_norm": vector_norm,
    "norm": norm,
    "norm/fro": norm,
    "norm/inf": norm,
    "cumsum": lambda x, dim, dtype=None: tr.cumsum(x, dim),
    "logsumexp": lambda x, dim, keepdim=False: tr.logsumexp(x, axes(dim), keepdim),
    "softmax": lambda x, dim, dtype=None: tr.softmax(x, dim),
    "softmax/with_dtype": lambda x, dim, dtype=None: tr.softmax(x, dim),
    "log_softmax": lambda x, dim, dtype=None: tr.log_softmax(x, dim),
    "log_softmax/with_dtype": lambda x, dim, dtype=None: tr.log_softmax(x, dim),
    "nn.functional.softmin": lambda x, dim, dtype=None: tr.softmax(-x, dim),
    # --- shapes
    "reshape": lambda x, shape: x.reshape(shape),
    "view": lambda x, shape: x.reshape(shape),
    "reshape_as": lambda x, other: x.reshape(other.shape),
    "ravel": tr.ravel,
    "flatten": flatten,
    "permute": lambda x, dims: x.transpose(*dims),
    "transpose": lambda x, a, b: tr.swapaxes(x, a, b) if x.ndim else x,
    "T": lambda x: x.T,
    "mT": lambda x: x.swapaxes(-1, -2),
    "t": lambda x: x.T,
    "movedim": tr.moveaxis,
    "squeeze": lambda x, dim=None: tr.squeeze(
        x, tuple(d for d in (range(x.ndim) if dim is None else [dim]) if x.ndim and x.shape[d] == 1)
    ),
    "squeeze/multiple": lambda x, dim: tr.squeeze(
        x, tuple(d for d in dim if x.ndim and x.shape[d] == 1)
    ),
    "unsqueeze": tr.expand_dims,
    "expand": lambda x, shape: tr.broadcast_to(
        x,
        tuple(
            o if n == -1 else n
            for n, o in zip(shape, (1,) * (len(shape) - x.ndim) + x.shape, strict=True)
        ),
    ),
    "expand_as": lambda x, other: tr.broadcast_to(x, other.shape),
    "broadcast_to": tr.broadcast_to,
    "tile": tile,
    "repeat": lambda x, reps: tr.tile(x, tuple(reps)),
    "repeat_interleave": repeat_interleave,
    "flip": lambda x, dims: tr.flip(x, tuple(dims)),
    "fliplr": lambda x: tr.flip(x, 1),
    "flipud": lambda x: tr.flip(x, 0),
    "roll": lambda x, shifts, dims=None: tr.roll(x, shifts, dims if dims != () else None),
    "nn.functional.pad/constant": pad,
    "nn.functional.pad/reflect": pad,
    "nn.functional.pad/replicate": pad,
    "nn.functional.pad/circular": pad,
    "constant_pad_nd": lambda x, widths, value=0: pad(x, widths, "constant", value),
    "double": lambda x, **kwargs: x.astype(np.float64),
    "float": lambda x, **kwargs: x.astype(np.float32),
    # --- joining and taking apart
    "stack": lambda xs, dim=0: tr.stack(xs, dim),
    "cat": lambda xs, dim=0: tr.concatenate([x for x in xs if x.shape != (0,)] or xs, dim),
    "hstack": lambda xs: tr.concatenate(
        [x if x.ndim else x.reshape(1) for x in xs], int(xs[0].ndim > 1)
    ),
    "split": split_sizes,
    "split/list_args": split_sizes,
    "split_with_sizes": split_sizes,
    "tensor_split": split_at,
    "chunk": lambda x, chunks, dim=0: split_sizes(x, -(-x.shape[dim] // chunks), dim),
    "unbind": lambda x, dim=0: list(tr.moveaxis(x, dim, 0)),
    # --- indexing
    "__getitem__": lambda x, key: x[key],
    "narrow": lambda x, dim, start, length: x[
        (slice(None),) * (dim % x.ndim) + (start + np.arange(length),)
    ],
    "select": lambda x, dim, index: x[(slice(None),) * (dim % x.ndim) + (index,)],
    "slice": lambda x, dim=0, start=None, end=None, step=1: x[
        (slice(None),) * (dim % x.ndim) + (slice(start, end, step),)
    ],
    "index_select": index_select,
    "take": take,
    "take_along_dim": lambda x, index, dim=None: tr.take_along_axis(x, index, dim),
}


# What PyTorch tests and we do not offer, whole families with an asterisk.
FAMILIES = """
fft.* special.* signal.* masked.* linalg.* torch.* *_copy *_scatter jiterator*
nn.functional.*pool* nn.functional.*conv* nn.functional.*dropout* nn.functional.*loss*
nn.functional.*norm* nn.functional.interpolate* nn.functional.upsample*
nn.functional.*cross_entropy* nn.functional.*grid* polygamma* mvlgamma* *svd* *qr *lu* cholesky*
scatter_reduce* index_* new_* *_like *_batch_norm* bitwise_* logical_* to_* *scatter* view_as_*
unsafe_* normal* sparse.* round* *rrelu *prelu *relu6 *celu *selu *glu
""".split()
OTHERS = """
H __rmod__ __rxor__ _chunk_cat _segment_reduce/lengths _segment_reduce/offsets
_softmax_backward_data _unsafe_masked_index _unsafe_masked_index_put_accumulate
_upsample_bilinear2d_aa acos acosh addbmm addmm addmm/decomposed addmv addr allclose aminmax
angle arange argmin argsort argwhere as_strided as_strided/partial_views asin asinh atan atan2
atanh atleast_1d atleast_2d atleast_3d baddbmm bernoulli bfloat16 bincount block_diag
bmm/triton_optimized bool broadcast_shapes broadcast_tensors bucketize byte cartesian_prod
cauchy cdist cdouble ceil cfloat chalf char combinations complex conj conj_physical contiguous
copysign corrcoef cosh count_nonzero cov cross cummax cummin cumprod cumulative_trapezoid
deg2rad diag diag_embed diagflat diagonal diff digamma dist div/floor_rounding
div/trunc_rounding dsplit dstack empty empty_permuted empty_strided equal erfc erfinv exp2
exponential eye fill floor floor_divide fmax fmin fmod frac frexp full gather gcd geometric
geqrf gradient grid_sampler_2d grid_sampler_3d half hash_tensor heaviside histc histogram
histogramdd hsplit hypot i0 igamma igammac imag inner int isclose isfinite isin isinf isneginf
isposinf isreal istft item kron lcm ldexp lgamma linspace linspace/tensor_overload log10 log2
log_normal logaddexp logaddexp2 logcumsumexp logdet logit logspace logspace/tensor_overload long
mH masked_select matrix_exp max/reduction_with_dim max_pool2d_with_indices_backward median
meshgrid/list_of_tensors meshgrid/variadic_tensors min/reduction_with_dim mode msort multinomial
nan_to_num nanmean nanmedian nanquantile nansum native_dropout_backward native_group_norm
native_layer_norm nextafter nn.functional.bilinear nn.functional.channel_shuffle
nn.functional.cosine_similarity nn.functional.embedding nn.functional.embedding_bag
nn.functional.hardshrink nn.functional.hardsigmoid nn.functional.hardswish
nn.functional.hardtanh nn.functional.kl_div nn.functional.mish
nn.functional.multi_head_attention_forward nn.functional.one_hot
nn.functional.pad/replicate_negative nn.functional.pairwise_distance nn.functional.pdist
nn.functional.pixel_shuffle nn.functional.pixel_unshuffle
nn.functional.scaled_dot_product_attention nn.functional.softmin/with_dtype
nn.functional.softshrink nn.functional.softsign nn.functional.tanhshrink nn.functional.threshold
nn.functional.unfold nonzero nonzero_static norm/nuc ones pca_lowrank pinverse polar put
quantile rad2deg randint randn real remainder renorm resize_ resize_as_ resolve_conj resolve_neg
rot90 rsqrt scalar_tensor searchsorted sgn short signbit sinc sinh sort stft sum_to_size tan
tensordot to topk trace trapezoid trapz triangular_solve tril tril_indices triu triu_indices
trunc unflatten unfold uniform unique unique_consecutive unravel_index vdot view_as vsplit
vstack xlogy zero_ zeros
""".split()


def operations() -> dict[str, Any]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from torch.testing._internal.common_methods_invocations import op_db
    return {
        op.name + (f"/{op.variant_test_name}" if op.variant_test_name else ""): op for op in op_db
    }


THEIRS = operations()


def mapped(function: Callable[[Any], Any], value: Any) -> Any:
    """`function` of every tensor in a sample's nested arguments."""
    if isinstance(value, torch.Tensor):
        return function(value)
    if isinstance(value, (tuple, list)):
        return type(value)(mapped(function, part) for part in value)
    if isinstance(value, dict):
        return {key: mapped(function, part) for key, part in value.items()}
    return value


def outputs(found: Any) -> list[Any]:
    return list(found) if isinstance(found, (tuple, list)) else [found]


def array(x: Any) -> Any:
    return x.data if isinstance(x, tr.Tensor) else np.asarray(x)


class Sample:
    """One of PyTorch's samples, its arguments once as theirs and once as ours."""

    def __init__(self, sample: Any) -> None:
        self.leaves: list[tuple[Any, Any]] = []
        self.text = str(sample.summary())
        arguments = (sample.input, sample.args, sample.kwargs)
        self.theirs = mapped(self._fresh, arguments)
        made = iter([ours for _, ours in self.leaves])
        self.ours = mapped(lambda x: next(made), self.theirs)
        self.leaves = [(x, y) for x, y in self.leaves if x.requires_grad]

    def _fresh(self, x: Any) -> Any:
        x = x.detach().clone().requires_grad_(x.requires_grad)
        self.leaves.append((x, tr.Tensor(x.detach().numpy(), requires_grad=x.requires_grad)))
        return x

    def values(self, name: str) -> tuple[list[Any], list[Any]]:
        (first, args, kwargs), (ours, our_args, our_kwargs) = self.theirs, self.ours
        found = OURS[name](ours, *our_args, **our_kwargs)
        return outputs(found), outputs(THEIRS[name].op(first, *args, **kwargs))


def agree(what: str, ours: Any, theirs: Any, scale: float = 1.0) -> None:
    ours, theirs = array(ours), theirs.detach().numpy()
    assert ours.shape == theirs.shape, f"{what}: shape {ours.shape}, PyTorch's {theirs.shape}"
    np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-11 * scale, err_msg=what)


def products(ys: list[Any], us: list[Any]) -> Any:
    return reduce(lambda a, b: a + b, [(y * u).sum() for y, u in zip(ys, us, strict=True)])


def compare(name: str, sample: Sample, rng: np.random.Generator) -> None:
    ours, theirs = sample.values(name)
    for i, (y, z) in enumerate(zip(ours, theirs, strict=True)):
        agree(f"output {i}", y, z)
    graded = [(y, z) for y, z in zip(ours, theirs, strict=True) if z.requires_grad]
    if not graded:
        assert not any(getattr(y, "requires_grad", False) for y in ours)
        return
    directions = [rng.uniform(0.5, 1.5, y.shape) for y, _ in graded]
    us = [tr.Tensor(u, requires_grad=True) for u in directions]
    vs = [torch.tensor(u, requires_grad=True) for u in directions]
    xs = [(ours, theirs) for theirs, ours in sample.leaves] + list(zip(us, vs, strict=True))
    our_leaves, their_leaves = [x for x, _ in xs], [x for _, x in xs]
    y = products([y for y, _ in graded], us)
    z = products([z for _, z in graded], vs)
    for order in ("first", "second"):
        found = pull(y, our_leaves, tr.Tensor(np.ones(())), True)
        wanted = torch.autograd.grad(z, their_leaves, create_graph=True, allow_unused=True)
        found = [tr.Tensor(np.zeros(x.shape)) if g is None else g
                 for x, g in zip(our_leaves, found, strict=True)]  # fmt: skip
        wanted = [torch.zeros_like(x) if g is None else g
                  for x, g in zip(their_leaves, wanted, strict=True)]  # fmt: skip
        for i, (g, h) in enumerate(zip(found, wanted, strict=True)):
            agree(f"{order} derivative by input {i}", g, h, scale=10.0)
        directions = [rng.uniform(-1, 1, g.shape) for g in found]
        y = products(found, [tr.Tensor(u) for u in directions])
        z = products(wanted, [torch.tensor(u) for u in directions])
        if not z.requires_grad or not y.requires_grad:
            return


def complaints(name: str, dtype: Any, most: int | None = None) -> tuple[int, list[str]]:
    """How many samples were compared, and what was wrong with others."""
    rng, compared, failed = np.random.default_rng(0), 0, []
    graded = dtype.is_floating_point and THEIRS[name].supports_autograd
    with warnings.catch_warnings(), np.errstate(all="ignore"):
        warnings.simplefilter("ignore")
        torch.default_generator.manual_seed(0)
        info = THEIRS[name]  # its own sample_inputs() inspects the whole stack, which takes long
        with torch.no_grad():
            samples = list(
                itertools.islice(info.sample_inputs_func(info, "cpu", dtype, graded), most)
            )
        for i, drawn in enumerate(samples):
            sample = Sample(drawn)
            try:
                compare(name, sample, rng)
                compared += 1
            except NotOfferedError:
                continue
            except Exception as error:  # each sample is to be heard, whatever it ends in
                failed.append(f"sample {i}, {sample.text}:\n{type(error).__name__}: {error}")
    return compared, failed


def with_dtype(dtype: Any) -> list[str]:
    return [name for name in OURS if name in THEIRS and dtype in THEIRS[name].dtypes]


@pytest.mark.parametrize("name", with_dtype(torch.float64))
def test_it_agrees_on_every_sample(name: str) -> None:
    compared, failed = complaints(name, torch.float64)
    assert not failed, f"{len(failed)} of {compared + len(failed)}\n" + "\n\n".join(failed[:3])
    assert compared


def test_integers_have_the_same_values() -> None:
    """Not to negative integer powers: NumPy refuses those."""
    before, failed = torch.get_default_dtype(), []
    torch.set_default_dtype(torch.float64)  # what their integers turn into
    try:
        for name in with_dtype(torch.int64):
            if name != "__rpow__":
                failed += [
                    f"{name}, {text}" for text in complaints(name, torch.int64, most=8)[1][:1]
                ]
    finally:
        torch.set_default_dtype(before)
    assert not failed, "\n\n".join(failed)


def test_what_is_not_offered_is_known() -> None:
    """Take a name off the lists above when the operation is there; look at those that are new."""
    unknown = {
        name
        for name in THEIRS.keys() - OURS.keys() - {*OTHERS}
        if not any(fnmatch(name, family) for family in FAMILIES)
    }
    assert not unknown
    assert not OURS.keys() & {*OTHERS}
