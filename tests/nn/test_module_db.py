"""PyTorch's own samples for its modules, run through ours: values and all gradients agree.

The samples are those with which PyTorch tests its modules. Recurrent layers are run on each sample
as it is, which is a single sequence, then on a batch, then on a packed batch. What is not offered
is listed here, and the list is to get shorter.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

torch: Any = pytest.importorskip("torch")
pytest.importorskip("expecttest")  # PyTorch's samples need it
with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from torch.testing._internal.common_modules import module_db

pytestmark = [
    pytest.mark.oracle,
    pytest.mark.filterwarnings("ignore:LSTM with projections:UserWarning"),
]

NOT_OFFERED = set(
    """
    AdaptiveAvgPool1d AdaptiveAvgPool2d AdaptiveAvgPool3d AdaptiveMaxPool1d AdaptiveMaxPool2d
    AdaptiveMaxPool3d AvgPool1d AvgPool2d AvgPool3d BatchNorm1d BatchNorm2d BatchNorm3d CELU Conv1d
    Conv2d Conv3d ConvTranspose1d ConvTranspose2d ConvTranspose3d CosineEmbeddingLoss ELU
    FractionalMaxPool2d FractionalMaxPool3d L1Loss SmoothL1Loss LazyConv1d LazyConv2d LazyConv3d
    LazyConvTranspose1d LazyConvTranspose2d LazyConvTranspose3d Bilinear LPPool1d LPPool2d LPPool3d
    MaxPool1d MaxPool2d MaxPool3d KLDivLoss MarginRankingLoss MultiLabelMarginLoss MultiMarginLoss
    SoftMarginLoss MultiLabelSoftMarginLoss GaussianNLLLoss PoissonNLLLoss HingeEmbeddingLoss
    HuberLoss BCELoss LinearCrossEntropyLoss CTCLoss GELU GLU GroupNorm Hardshrink Hardswish
    Hardtanh InstanceNorm1d InstanceNorm2d InstanceNorm3d LocalResponseNorm LayerNorm RMSNorm
    TransformerEncoder TransformerEncoderLayer TransformerDecoderLayer Transformer
    MultiheadAttention ReLU LeakyReLU ReLU6 PReLU Sigmoid LogSigmoid SiLU Softmax Softmax2d
    LogSoftmax Softmin Softplus Softshrink Softsign Tanh Tanhshrink Threshold Mish ReflectionPad1d
    ReflectionPad2d ReflectionPad3d ReplicationPad1d ReplicationPad2d ReplicationPad3d SELU
    ZeroPad1d ZeroPad2d ZeroPad3d CircularPad1d CircularPad2d CircularPad3d ConstantPad1d
    ConstantPad2d ConstantPad3d
    """.split()
)
# Options of those that are offered.
OPTIONS_NOT_OFFERED = {("BCEWithLogitsLoss", "weight")}
TOLERANCE = {torch.float64: 1e-11, torch.float32: 2e-4}


# --- ours, made from a module of PyTorch's: a function, and its weights' gradients ---------------

Made = tuple[Callable[..., Any], Callable[[], dict[str, Any]]]


def linear(theirs: Any, options: dict[str, Any]) -> Made:
    weight = theirs.weight.detach().numpy()
    ours = nn.Linear(weight.shape[1], weight.shape[0], bias=theirs.bias is not None)
    ours.W = nn.parameter(weight.T, weight.dtype)
    if theirs.bias is not None:
        ours.b = nn.parameter(theirs.bias.detach().numpy(), weight.dtype)
    return ours, lambda: {
        "weight": ours.W.grad.T, **({} if ours.b is None else {"bias": ours.b.grad})
    }  # fmt: skip


def embedding(theirs: Any, options: dict[str, Any]) -> Made:
    weight = theirs.weight.detach().numpy()
    ours = nn.Embedding(*weight.shape, dtype=weight.dtype)
    ours.W.data = weight.copy()
    return ours, lambda: {"weight": ours.W.grad}


def recurrent(theirs: Any, options: dict[str, Any]) -> Made:
    name = {"RNNCell": "ElmanCell"}.get(type(theirs).__name__, type(theirs).__name__)
    state = theirs.state_dict()
    dtype = next(iter(state.values())).numpy().dtype
    ours = getattr(nn, name)(theirs.input_size, theirs.hidden_size, dtype=dtype, **options)
    nn.from_torch(ours, state)

    def gradients() -> dict[str, Any]:
        values = ours.state_dict()
        ours.load_state_dict({path: p.grad for path, p in ours.named_parameters().items()})
        found = nn.to_torch(ours)
        ours.load_state_dict(values)
        for key in [key for key in found if key.startswith("bias_hh")]:
            own = theirs.hidden_size if "GRU" in name else 0  # the only second bias that we have
            found[key] = (slice(len(found[key]) - own, None), found[key][len(found[key]) - own :])
        return found

    def run(x: Any, *state: Any, **more: Any) -> Any:
        result = ours(x, *state, **more)
        return result[1] if name.endswith("Cell") else result

    return run, gradients


def loss(ours: Callable[..., Any], classes: bool) -> Callable[..., Made]:
    def make(theirs: Any, options: dict[str, Any]) -> Made:
        options = {k: v.numpy() if hasattr(v, "numpy") else v for k, v in options.items()}

        def run(scores: Any, targets: Any) -> Any:
            if classes and scores.ndim > 1:  # theirs stand on axis 1, ours last
                axes = (0, *range(2, scores.ndim), 1)
                targets = tr.transpose(targets, axes) if targets.ndim == scores.ndim else targets
                scores = tr.transpose(scores, axes)
            return ours(scores, targets, **({"reduction": "mean"} | options))

        return run, dict

    return make


OFFERED: dict[str, Callable[..., Made]] = {
    "Linear": linear,
    "Embedding": embedding,
    "CrossEntropyLoss": loss(nn.cross_entropy, classes=True),
    "NLLLoss": loss(nn.negative_log_likelihood, classes=True),
    "BCEWithLogitsLoss": loss(nn.binary_cross_entropy_with_logits, classes=False),
    "MSELoss": loss(nn.mse, classes=False),
    **dict.fromkeys(["RNNCell", "LSTMCell", "GRUCell", "RNN", "LSTM", "GRU"], recurrent),
}


# --- the sweep -----------------------------------------------------------------------------------


def samples(name: str, dtype: Any) -> Iterator[tuple[Any, dict[str, Any], list[Any]]]:
    """A module of PyTorch's, the options it was made with, and its inputs."""
    info = next(info for info in module_db if info.name == f"nn.{name}")
    torch.manual_seed(0)
    for sample in info.module_inputs_func(
        info, device="cpu", dtype=dtype, requires_grad=True, training=True
    ):
        made, given = sample.constructor_input, sample.forward_input
        if any((name, option) in OPTIONS_NOT_OFFERED for option in made.kwargs):
            continue
        module = info.module_cls(
            *made.args, **made.kwargs, **({} if "Loss" in name else {"dtype": dtype})
        )
        sizes = ("input_size", "hidden_size", "num_embeddings", "embedding_dim")
        options = {k: v for k, v in made.kwargs.items() if k not in sizes}
        yield module, options, [leaf(x) for x in (*given.args, *given.kwargs.values())]


def leaf(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(leaf(part) for part in value)
    return value.detach().requires_grad_(value.requires_grad)


def flat(result: Any) -> list[Any]:
    return [r for part in result for r in flat(part)] if isinstance(result, tuple) else [result]


def as_ours(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(as_ours(part) for part in value)
    array = value.detach().numpy()
    if array.dtype.kind != "f":
        return array
    return tr.Tensor(array, requires_grad=value.requires_grad)


def assert_same(
    made: Made, module: Any, inputs: list[Any], tolerance: float, lengths: Any = None
) -> None:
    run, gradients = made
    module.zero_grad()
    mine = [as_ours(value) for value in inputs]
    if lengths is None:
        found, expected = flat(run(*mine)), flat(module(*inputs))
    else:
        found = flat(run(*mine, lengths=lengths))
        rnn, first = torch.nn.utils.rnn, module.batch_first
        packed = rnn.pack_padded_sequence(inputs[0], lengths, first, enforce_sorted=False)
        outputs, state = module(packed, *inputs[1:])
        expected = flat((rnn.pad_packed_sequence(outputs, first)[0], state))
    if len(expected) == 1 and expected[0].isnan().all():
        assert found[0].item() == 0.0  # a mean over nothing: theirs is NaN, ours 0
        return
    rng = np.random.default_rng(0)
    total: Any = 0.0
    wanted: Any = 0.0
    for a, b in zip(found, expected, strict=True):
        assert a.shape == b.shape
        assert a.dtype == b.detach().numpy().dtype
        np.testing.assert_allclose(a.data, b.detach().numpy(), rtol=tolerance, atol=tolerance)
        u = rng.standard_normal(a.shape).astype(a.dtype)
        total, wanted = total + (a * u).sum(), wanted + (b * torch.as_tensor(u)).sum()
    total.backward()
    wanted.backward()
    theirs = {name: p.grad for name, p in module.named_parameters()}
    pairs = [(x.grad, y.grad) for x, y in zip(flat(tuple(mine)), flat(tuple(inputs)), strict=True)
             if isinstance(x, tr.Tensor) and x.requires_grad]  # fmt: skip
    for name, g in gradients().items():
        part, g = g if isinstance(g, tuple) else (slice(None), g)
        pairs.append((g, theirs.pop(name)[part]))
    assert not theirs
    for x, y in pairs:
        scale = max(1.0, float(abs(y).max())) if y.numel() else 1.0
        np.testing.assert_allclose(x, y.numpy(), rtol=tolerance, atol=tolerance * scale)


@pytest.mark.parametrize("dtype", TOLERANCE, ids=str)
@pytest.mark.parametrize("name", OFFERED)
def test_samples_agree(name: str, dtype: Any) -> None:
    count = 0
    for module, options, inputs in samples(name, dtype):
        made = OFFERED[name](module, options)
        assert_same(made, module, inputs, TOLERANCE[dtype])
        count += 1
    assert count


@pytest.mark.parametrize("lengths", [None, [5, 2, 3]], ids=["batch", "packed"])
@pytest.mark.parametrize("name", ["RNN", "LSTM", "GRU"])
def test_recurrent_layers_agree_on_batches(name: str, lengths: Any) -> None:
    """Every configuration of the samples; what stands past a sequence's end is not a number."""
    for module, options, (single, *state) in samples(name, torch.float64):
        xs = torch.randn((5, 3, single.shape[-1]), dtype=torch.float64)
        if lengths is not None:
            xs[2:, 1] = xs[3:, 2] = torch.nan
        if module.batch_first:
            xs = xs.transpose(0, 1).contiguous()
        batch = [torch.stack([s] * 3, dim=1).detach().requires_grad_() for s in flat(tuple(state))]
        inputs = [xs.requires_grad_(), *([tuple(batch)] if name == "LSTM" and batch else batch)]
        assert_same(recurrent(module, options), module, inputs, 1e-11, lengths)


@pytest.mark.parametrize("name", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_agree_on_batches(name: str) -> None:
    for module, options, (x, state) in samples(name, torch.float64):
        batch = [torch.stack([s, -s]).detach().requires_grad_() for s in flat((x, state))]
        inputs = [batch[0], tuple(batch[1:]) if name == "LSTMCell" else batch[1]]
        assert_same(recurrent(module, options), module, inputs, 1e-11)


def test_everything_is_either_offered_or_listed() -> None:
    names = {info.name.removeprefix("nn.") for info in module_db}
    assert set(OFFERED) <= names
    assert not NOT_OFFERED & set(OFFERED)
    assert names <= NOT_OFFERED | set(OFFERED)
