"""Models that nobody wrote for the mirror: their losses and every gradient are PyTorch's."""

from __future__ import annotations

import contextlib
import itertools
import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
import viz

torch: Any = pytest.importorskip("torch")
from tinygrad_rnn.torch import TABLE, mirror  # noqa: E402

nn, F = torch.nn, torch.nn.functional
pytestmark = pytest.mark.oracle

Model = Callable[[], tuple[Any, Callable[[Any], Any]]]
MODELS: dict[str, Model] = {}


def model(build: Model) -> Model:
    """A model and what computes its loss from it; `inputs` of the loss function get gradients."""
    MODELS[build.__name__] = build
    return build


def data(*shape: int) -> Any:
    return torch.randn(*shape).requires_grad_()


def recurrent(kind: str, *sizes: int, **options: Any) -> Model:
    def build() -> tuple[Any, Callable[[Any], Any]]:
        xs = data(2, 4, sizes[0]) if options.get("batch_first") else data(4, 2, sizes[0])

        def loss(net: Any) -> Any:
            outputs, state = net(xs.to(next(net.parameters()).dtype))
            states = state if isinstance(state, tuple) else (state,)
            return outputs.sin().sum() + sum((s * s).sum() for s in states)

        return getattr(nn, kind)(*sizes, **options), loss

    return build


for kind in ("RNN", "LSTM", "GRU"):
    for options in (
        {}, {"num_layers": 2}, {"bidirectional": True}, {"bias": False}, {"batch_first": True},
        {"num_layers": 2, "bidirectional": True, "dropout": 0.5},
    ):  # fmt: skip
        MODELS[f"{kind} {options}"] = recurrent(kind, 3, 5, **options)
MODELS["RNN relu"] = recurrent("RNN", 3, 5, nonlinearity="relu")
MODELS["LSTM projected"] = recurrent("LSTM", 3, 5, proj_size=2)


def packed(kind: str, lengths: list[int], **options: Any) -> Model:
    def build() -> tuple[Any, Callable[[Any], Any]]:
        xs = data(4, 3, 3)

        def loss(net: Any) -> Any:
            given = xs.to(next(net.parameters()).dtype)
            rows = nn.utils.rnn.pack_padded_sequence(given, lengths, enforce_sorted=False)
            padded, _ = nn.utils.rnn.pad_packed_sequence(net(rows)[0])
            return (padded * padded).sum()

        return getattr(nn, kind)(3, 5, **options), loss

    return build


MODELS["LSTM packed"] = packed("LSTM", [4, 3, 1])
MODELS["GRU packed both ways"] = packed("GRU", [2, 4, 3], bidirectional=True)


def celled(kind: str) -> Model:
    def build() -> tuple[Any, Callable[[Any], Any]]:
        xs = data(4, 2, 3)

        def loss(net: Any) -> Any:
            state, total = None, 0.0
            for x in xs.to(next(net.parameters()).dtype):
                state = net(x, state)
                total = total + (state[0] if isinstance(state, tuple) else state).pow(2).mean()
            return total

        return getattr(nn, kind)(3, 5), loss

    return build


for kind in ("RNNCell", "LSTMCell", "GRUCell"):
    MODELS[kind] = celled(kind)


@model
def word_language_model() -> tuple[Any, Callable[[Any], Any]]:
    """Embedding, dropout, two layers, and a decoder tied to the embedding."""

    class WordModel(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.drop = nn.Dropout(0.5)
            self.encoder = nn.Embedding(11, 6)
            self.rnn = nn.LSTM(6, 6, 2, dropout=0.5)
            self.decoder = nn.Linear(6, 11)
            self.decoder.weight = self.encoder.weight

        def forward(self, words: Any) -> Any:
            outputs, _ = self.rnn(self.drop(self.encoder(words)))
            return F.log_softmax(self.decoder(self.drop(outputs)).view(-1, 11), dim=1)

    words, target = torch.randint(0, 11, (5, 2)), torch.randint(0, 11, (10,))
    return WordModel(), lambda net: F.nll_loss(net(words), target)


@model
def char_rnn() -> tuple[Any, Callable[[Any], Any]]:
    """The loop is the caller's; concatenated input and state; the last output is the loss's."""

    class CharRNN(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.i2h = nn.Linear(4 + 5, 5)
            self.h2o = nn.Linear(5, 3)

        def forward(self, x: Any, hidden: Any) -> Any:
            hidden = torch.tanh(self.i2h(torch.cat((x, hidden), 1)))
            return F.log_softmax(self.h2o(hidden), dim=1), hidden

    line = F.one_hot(torch.tensor([0, 3, 1, 2, 2]), 4).unsqueeze(1)

    def loss(net: Any) -> Any:
        hidden = torch.zeros(1, 5, dtype=net.h2o.weight.dtype)
        for x in line.to(hidden.dtype):
            output, hidden = net(x, hidden)
        return nn.NLLLoss()(output, torch.tensor([1]))

    return CharRNN(), loss


@model
def time_sequence_prediction() -> tuple[Any, Callable[[Any], Any]]:
    """Two LSTM cells in one loop, which then goes on with its own predictions."""

    class Sequence(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.lstm1, self.lstm2 = nn.LSTMCell(1, 4), nn.LSTMCell(4, 4)
            self.linear = nn.Linear(4, 1)

        def forward(self, xs: Any, future: int) -> Any:
            outputs = []
            h1, c1, h2, c2 = (torch.zeros(xs.size(0), 4, dtype=xs.dtype) for _ in range(4))
            for x in xs.split(1, dim=1):
                h1, c1 = self.lstm1(x, (h1, c1))
                h2, c2 = self.lstm2(h1, (h2, c2))
                outputs.append(self.linear(h2))
            for _ in range(future):
                h1, c1 = self.lstm1(outputs[-1], (h1, c1))
                h2, c2 = self.lstm2(h1, (h2, c2))
                outputs.append(self.linear(h2))
            return torch.cat(outputs, dim=1)

    xs = data(2, 5)
    return Sequence(), lambda net: nn.MSELoss()(
        net(xs.to(net.linear.weight.dtype), 2), torch.ones(2, 7, dtype=net.linear.weight.dtype)
    )


@model
def seq2seq_with_attention() -> tuple[Any, Callable[[Any], Any]]:
    """A GRU encoder, and a decoder that looks at all of its outputs (additive attention)."""

    class Seq2seq(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.words = nn.Embedding(7, 4)
            self.encoder = nn.GRU(4, 5, batch_first=True)
            self.query, self.key, self.score = nn.Linear(5, 5), nn.Linear(5, 5), nn.Linear(5, 1)
            self.decoder = nn.GRU(4 + 5, 5, batch_first=True)
            self.out = nn.Linear(5, 7)

        def forward(self, source: Any, target: Any) -> Any:
            outputs, hidden = self.encoder(self.words(source))
            found = []
            for t in range(target.size(1)):
                asked = hidden.permute(1, 0, 2)
                scores = self.score(torch.tanh(self.query(asked) + self.key(outputs)))
                weights = F.softmax(scores.squeeze(2).unsqueeze(1), dim=-1)
                context = torch.bmm(weights, outputs)
                x = torch.cat((self.words(target[:, t : t + 1]), context), dim=2)
                output, hidden = self.decoder(x, hidden)
                found.append(self.out(output))
            return torch.cat(found, dim=1)

    source, target = torch.randint(0, 7, (2, 4)), torch.randint(0, 7, (2, 3))
    return Seq2seq(), lambda net: nn.CrossEntropyLoss()(
        net(source, target).view(-1, 7), target.view(-1)
    )


@model
def peephole_cell() -> tuple[Any, Callable[[Any], Any]]:
    class Peephole(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.W = nn.Parameter(torch.randn(3, 16) / 2)
            self.U = nn.Parameter(torch.randn(4, 16) / 2)
            self.p = nn.Parameter(torch.randn(3, 4))

        def forward(self, xs: Any) -> Any:
            h, c = xs.new_zeros(2, 4), xs.new_zeros(2, 4)
            hs = xs.new_empty(len(xs), 2, 4)
            for t in range(len(xs)):
                i, f, g, o = (xs[t] @ self.W + h @ self.U).chunk(4, 1)
                i, f = torch.sigmoid(i + self.p[0] * c), torch.sigmoid(f + self.p[1] * c)
                c = f * c + i * torch.tanh(g)
                h = torch.sigmoid(o + self.p[2] * c) * torch.tanh(c)
                hs[t] = h  # written into a buffer
            return hs

    xs = data(5, 2, 3)
    return Peephole(), lambda net: (net(xs.to(net.W.dtype)) ** 2).sum()


@model
def layer_norm_rnn() -> tuple[Any, Callable[[Any], Any]]:
    class Normed(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.x2h, self.h2h, self.norm = nn.Linear(3, 5), nn.Linear(5, 5), nn.LayerNorm(5)

        def forward(self, xs: Any) -> Any:
            h = xs.new_zeros(2, 5)
            for x in xs:
                h = torch.relu(self.norm(self.x2h(x) + self.h2h(h)))
            return h

    xs = data(4, 2, 3)
    return Normed(), lambda net: net(xs.to(net.norm.weight.dtype)).norm()


@model
def transformer_block() -> tuple[Any, Callable[[Any], Any]]:
    xs = data(4, 2, 6)
    net = nn.TransformerEncoderLayer(6, 2, 8, dropout=0.1)
    return net, lambda net: net(xs.to(net.norm1.weight.dtype)).pow(2).mean()


@model
def causal_attention() -> tuple[Any, Callable[[Any], Any]]:
    xs = data(2, 4, 6)
    mask = torch.ones(4, 4, dtype=torch.bool).triu(1)

    def loss(net: Any) -> Any:
        x = xs.to(net.in_proj_weight.dtype)
        first, weights = net(x, x, x, attn_mask=mask)
        second, _ = net(x, x, x, need_weights=False)
        return (first * second).sum() + weights.log1p().sum()

    return nn.MultiheadAttention(6, 2, batch_first=True), loss


@model
def in_place() -> tuple[Any, Callable[[Any], Any]]:
    """In-place operations on tensors and on views of them, in a loop."""

    class InPlace(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.randn(4, 4) / 2)

        def forward(self, x: Any) -> Any:
            h = x * 1.0
            for _ in range(3):
                a = torch.mm(h, self.weight).add_(0.1)
                a[:, :2].mul_(0.5)
                a.T[3].add_(a[:, 0])
                h = a.add_(h, alpha=0.5).clamp_(-2, 2)
            return torch.cat([h[:, ::2], h.flip(1)], 1)

    x = data(3, 4)
    return InPlace(), lambda net: net(x.to(net.weight.dtype)).exp().mean()


@model
def weight_normed_loop() -> tuple[Any, Callable[[Any], Any]]:
    """The weight is computed from two parameters, anew in each step."""

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.cell = nn.utils.parametrizations.weight_norm(nn.Linear(4, 4))

        def forward(self, h: Any) -> Any:
            for _ in range(4):
                h = torch.tanh(self.cell(h))
            return h

    h = data(2, 4)
    return Net(), lambda net: net(h.to(net.cell.bias.dtype)).sum()


@model
def losses_and_activations() -> tuple[Any, Callable[[Any], Any]]:
    """What PyTorch decomposes for us: losses and activations that are not in the table."""
    y, classes = (torch.rand(6, 4) > 0.5).double(), torch.randint(0, 3, (2, 3))

    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear, self.norm = nn.Linear(4, 4), nn.BatchNorm1d(4)

        def forward(self, x: Any) -> Any:
            a = self.norm(self.linear(x))
            parts = [
                F.binary_cross_entropy_with_logits(a, y.to(a.dtype)), F.smooth_l1_loss(a, x),
                F.huber_loss(a, x), F.gelu(a).mean(), F.silu(a).mean(), F.elu(a).mean(),
                F.hardtanh(a).mean(), F.mish(a).mean(), F.logsigmoid(a).mean(), a.std(),
                F.softplus(a).mean(), F.leaky_relu(a).mean(), F.celu(a).mean(), a.var(0).sum(),
                F.glu(a).mean(), a.amax(1).sum(), a.max(0).values.sum(), a.cumsum(0).mean(),
                a.logsumexp(1).mean(), F.cosine_similarity(a, x).mean(), F.pad(a, (1, 2)).sum(),
                F.cross_entropy(a.view(2, 3, 4)[:, :, :3], classes, ignore_index=1),
                torch.einsum("bi,bj->ij", a, x).pow(2).sum(), a.masked_fill(a > 0, 0.5).sum(),
                torch.where(a > 0, a, a * 2).sum(), a.roll(1, 0).mul(x).sum(), a.norm(dim=1).sum(),
                torch.addcmul(a, x, x, value=0.3).mean(), torch.lerp(a, x, 0.3).pow(3).mean(),
                a.gather(1, torch.tensor([[1], [0], [3], [2], [1], [0]])).sum(),
            ]  # fmt: skip
            return sum(parts)

    x = data(6, 4)
    return Net(), lambda net: net(x.to(net.linear.weight.dtype))


class Both(torch.autograd.Function):
    """The product and the sum, in one function."""

    @staticmethod
    def forward(ctx: Any, a: Any, b: Any) -> Any:
        ctx.save_for_backward(a, b)
        return a * b, a + b

    @staticmethod
    def backward(ctx: Any, g: Any, k: Any) -> Any:
        a, b = ctx.saved_tensors
        return g * b + k, g * a + k


def around(build: Callable[[], Any], run: Callable[[Any, Any], Any]) -> Model:
    def made() -> tuple[Any, Callable[[Any], Any]]:
        xs = data(5, 3, 4)
        return build(), lambda net: run(net, xs.to(next(net.parameters()).dtype)).pow(2).mean()

    return made


def checkpointed(net: Any, xs: Any) -> Any:
    h = xs.new_zeros(3, 5)
    for x in xs:
        h = torch.utils.checkpoint.checkpoint(net, x, h, use_reentrant=False)
    return h


def views_written_to(net: Any, xs: Any) -> Any:
    a = net(xs[0])
    b = a.view(2, 6)
    b[0].mul_(2)
    a.diagonal().add_(1)
    a[1:, ::2] = a[:2, 1::2]
    a.t()[2].exp_()
    return a * b.view(3, 4) + a.unfold(0, 2, 1).pow(2).sum()


def clamped_without_gradient(net: Any, xs: Any) -> Any:
    h = net(xs)
    with torch.no_grad():
        h.clamp_(-0.5, 0.5)
    return h


MODELS |= {
    "checkpointed": around(lambda: nn.RNNCell(4, 5), checkpointed),
    "weight_normed LSTM": around(
        lambda: nn.utils.parametrizations.weight_norm(nn.LSTM(4, 5), "weight_hh_l0"),
        lambda net, xs: net(xs)[0],
    ),
    "spectral_normed": around(
        lambda: nn.utils.parametrizations.spectral_norm(nn.Linear(4, 4)), lambda net, xs: net(xs)
    ),
    "a function of two outputs": around(
        lambda: nn.Linear(4, 4), lambda net, xs: sum(Both.apply(net(xs), net(xs).tanh()))
    ),
    "views written to": around(lambda: nn.Linear(4, 4), views_written_to),
    "clamped without gradient": around(lambda: nn.Linear(4, 4), clamped_without_gradient),
    "unbatched": around(lambda: nn.LSTM(4, 5), lambda net, xs: net(xs[:, 0])[0]),
    "functional_call": around(
        lambda: nn.GRU(4, 5),
        lambda net, xs: torch.func.functional_call(
            net, {name: p * 0.5 for name, p in net.named_parameters()}, (xs,)
        )[0],
    ),
    "transformer decoder": around(
        lambda: nn.TransformerDecoderLayer(4, 2, 8, dropout=0.2), lambda net, xs: net(xs, xs)
    ),
    "GRU packed deep": packed("GRU", [2, 4, 3], num_layers=2, bidirectional=True),
}


def inputs_of(loss: Callable[[Any], Any]) -> list[Any]:
    cells = [cell.cell_contents for cell in loss.__closure__ or ()]
    return [x for x in cells if isinstance(x, torch.Tensor) and x.requires_grad]


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@pytest.mark.parametrize("name", MODELS)
def test_the_loss_and_every_gradient_are_pytorchs(name: str, dtype: str) -> None:
    torch.manual_seed(0)
    net, compute = MODELS[name]()
    net = net.to(getattr(torch, dtype))
    inputs = inputs_of(compute)
    with mirror(net) as m:
        loss = compute(net)
    ours = m.loss(loss)
    assert ours.dtype == dtype
    tolerance = 1e-10 if dtype == "float64" else 1e-4
    np.testing.assert_allclose(ours.data, loss.detach().numpy(), rtol=tolerance)
    assert m.check() > 0
    ours.backward()
    loss.backward()
    leaves = [(m.parameters[name], p) for name, p in net.named_parameters()]
    for mine, theirs in [*leaves, *((m[x], x) for x in inputs)]:
        assert mine.grad is not None
        expected = theirs.grad.numpy()
        np.testing.assert_allclose(
            mine.grad, expected, rtol=tolerance, atol=tolerance * (1 + np.abs(expected).max())
        )


def scopes(output: tr.Tensor) -> list[Any]:
    """The steps behind an output, in the order in which they ran."""
    found = [x.scope.stateful for x in tr.backprop(output).tensors[::-1] if x.scope]
    return [step for step in dict.fromkeys(found) if step is not None]


@pytest.mark.parametrize(
    ("name", "paths"),
    [
        ("LSTM {}", [f"LSTM / t={t}" for t in range(4)]),
        (
            "GRU {'bidirectional': True}",
            [f"GRU / l0 / t={t}" for t in range(4)]
            + [f"GRU / l0_reverse / t={t}" for t in (3, 2, 1, 0)],
        ),
        ("LSTMCell", [f"LSTMCell / t={t}" for t in range(4)]),
        ("char_rnn", [f"CharRNN / t={t}" for t in range(5)]),
        ("time_sequence_prediction", [f"Sequence / t={t}" for t in range(7)]),
        (
            "seq2seq_with_attention",
            [f"Seq2seq / encoder / t={t}" for t in range(4)]
            + [f"Seq2seq / t={t}" for t in range(3)],
        ),
        ("peephole_cell", [f"Peephole / t={t}" for t in range(5)]),
        ("weight_normed_loop", [f"Net / t={t}" for t in range(4)]),
        ("LSTM packed", [f"LSTM / t={t}" for t in range(4)]),
        ("transformer_block", []),
        ("losses_and_activations", []),
    ],
)
def test_time_is_found(name: str, paths: list[str]) -> None:
    torch.manual_seed(0)
    net, compute = MODELS[name]()
    with mirror(net.double()) as m:
        loss = compute(net)
    steps = scopes(m.loss(loss))
    assert [step.path for step in steps] == paths
    for before, after in itertools.pairwise(steps):
        if before.sequence is after.sequence and name != "LSTM packed":
            assert before.state_out == after.state_in != ()


def test_a_step_knows_its_states_as_unroll_puts_them() -> None:
    """The same weights in our own LSTM: states, inputs and outputs have the same values."""
    theirs = nn.LSTM(3, 5).double()
    ours = tr.nn.LSTM(3, 5, rng=0)
    tr.nn.from_torch(ours, theirs.state_dict())
    xs = torch.randn(4, 2, 3, dtype=torch.float64)
    with mirror(theirs) as m:
        loss = theirs(xs)[0].pow(2).sum()
    own = (ours(xs.numpy())[0] ** 2).sum()
    found = []
    for output in (m.loss(loss), own):
        by_number = {x.number: x.data for x in tr.backprop(output).tensors}
        found.append([[by_number[n] for n in step.state_out] for step in scopes(output)])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-12)


def test_contributions_of_each_step_and_influence() -> None:
    net = nn.RNN(2, 3).double()
    xs = torch.randn(5, 1, 2, dtype=torch.float64)
    with mirror(net) as m:
        outputs, _ = net(xs)
        losses = [h.sum() for h in outputs]
        loss = sum(losses)
    trace = tr.backprop(m.loss(loss), keep="arrays")
    loss.backward()
    by_step = trace.by_step(m.parameters["weight_hh_l0"])
    assert by_step.shape == (5, 3, 3)
    np.testing.assert_allclose(by_step.sum(0), net.weight_hh_l0.grad, rtol=1e-12)
    states = {step.state_out[0] for step in scopes(m.loss(loss))}
    matrix = tr.influence(
        [m.loss(x) for x in losses], [x for x in trace.tensors if x.number in states][::-1]
    )
    assert (np.triu(matrix, 1) == 0).all()
    assert (matrix[np.tril_indices(5)] > 0).all()


@pytest.mark.parametrize("kind", ["LSTM", "GRU"])
def test_the_input_weights_are_told_apart_by_step(kind: str) -> None:
    """PyTorch multiplies all inputs by them at once; a cell in a loop, step by step."""
    layer, cell = getattr(nn, kind)(3, 5).double(), getattr(nn, f"{kind}Cell")(3, 5).double()
    cell.load_state_dict({k.removesuffix("_l0"): v for k, v in layer.state_dict().items()})
    xs, state = torch.randn(4, 2, 3, dtype=torch.float64), None
    with mirror(layer) as m:
        loss = layer(xs)[0][-1].sin().sum()
    with mirror(cell) as n:
        for x in xs:
            state = cell(x, state)
        other = (state[0] if kind == "LSTM" else state).sin().sum()
    for name in ("weight_ih", "bias_ih", "weight_hh"):
        found = tr.backprop(m.loss(loss), keep="arrays").by_step(m.parameters[f"{name}_l0"])
        expected = tr.backprop(n.loss(other), keep="arrays").by_step(n.parameters[name])
        np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-14)


def test_steps_that_the_user_marked_have_the_last_word() -> None:
    cell = nn.RNNCell(2, 3)
    h = None
    with mirror(cell) as m:
        for t, x in enumerate(torch.ones(3, 1, 2)):
            with tr.step(10 * t):
                h = cell(x, h)
        loss = h.sum()
    assert [s.path for s in scopes(m.loss(loss))] == ["t=0", "t=10", "t=20"]


def test_a_detached_tensor_is_a_constant() -> None:
    net = nn.Linear(2, 2)
    with mirror(net) as m:
        y = net(torch.ones(1, 2))
        with torch.no_grad():
            z = net(y)
        loss = (y * y.detach() * z).sum()
    m.loss(loss).backward()
    assert m.check() > 0
    loss.backward()
    np.testing.assert_allclose(m.parameters["weight"].grad, net.weight.grad, rtol=1e-5)


def test_truncated_backpropagation_has_steps_in_each_part() -> None:
    net, state, loss = nn.LSTM(2, 3), None, 0.0
    with mirror(net) as m:
        for xs in torch.ones(2, 3, 1, 2):
            outputs, state = net(xs, state)
            state = tuple(s.detach() for s in state)
            loss = loss + outputs.sum()
    steps = scopes(m.loss(loss))
    assert m.check() > 0
    assert [step.t for step in steps] == [0, 1, 2, 0, 1, 2]
    assert {len(step.state_out) for step in steps} == {2}
    assert len({step.sequence for step in steps}) == 2


def test_a_loop_whose_state_is_detached_at_each_step_has_steps() -> None:
    cell, h, loss = nn.RNNCell(2, 3), torch.zeros(1, 3), 0.0
    with mirror(cell) as m:
        for x in torch.ones(3, 1, 2):
            h = cell(x, h.detach())
            loss = loss + h.sum()
    assert [step.t for step in scopes(m.loss(loss))] == [0, 1, 2]


def test_a_weight_that_was_updated_is_read_again() -> None:
    net = nn.Linear(2, 2)
    optimiser = torch.optim.SGD(net.parameters(), lr=0.5)
    with mirror(net) as m:
        for _ in range(2):
            optimiser.zero_grad()
            loss = net(torch.ones(1, 2)).pow(2).sum()
            loss.backward()
            optimiser.step()
    assert m.loss(loss).item() == pytest.approx(loss.item())


class Wrong(torch.autograd.Function):
    """tanh, whose backward forgets a factor."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        y = torch.tanh(x)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        (y,) = ctx.saved_tensors
        return g * (1 - y * y * y) if len(y) == 2 else g * (1 - y * y)


class Reversed(torch.autograd.Function):
    """An identity with a derivative of its own."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return x.view_as(x)

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return -g


@pytest.mark.parametrize("function", [Wrong, Reversed])
def test_a_wrong_function_is_named_with_its_module_and_step(function: Any) -> None:
    class Cell(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.inner = nn.Linear(3, 3)

        def forward(self, h: Any, wrong: bool) -> Any:
            a = self.inner(h)
            return function.apply(a) if wrong else torch.tanh(a)

    net = Cell().double()
    h = torch.randn(2, 3, dtype=torch.float64)
    with mirror(net) as m:
        for t in range(4):
            h = net(h, wrong=t == 2)
        loss = h.sum()
    m.loss(loss)
    with pytest.raises(AssertionError, match=rf"Cell / {function.__name__}") as error:
        m.check()
    assert "t=2" in str(error.value)


def test_a_wrong_entry_of_the_table_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(TABLE, "tanh", lambda x: tr.tanh(x) * 1.001)
    net = nn.RNN(2, 3)
    with mirror(net) as m:
        loss = net(torch.ones(3, 1, 2))[0].sum()
    m.loss(loss)
    with pytest.raises(AssertionError, match=r"RNN / t=0, differs from PyTorch's tanh"):
        m.check()


def test_what_is_missing_is_named_and_can_be_added(monkeypatch: pytest.MonkeyPatch) -> None:
    class Net(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.linear = nn.Linear(2, 2)

        def forward(self, x: Any) -> Any:
            return torch.erfc(self.linear(x))

    net = Net()
    with pytest.raises(NotImplementedError, match=r"erfc") as error, mirror(net):
        net(torch.ones(1, 2))
    assert "in Net: " in str(error.value)
    assert "(1, 2)" in str(error.value)
    assert "test_mirror.py:" in str(error.value)
    key = str(error.value).split("TABLE['")[1].split("'")[0]
    monkeypatch.setitem(TABLE, key, lambda x: 1.0 - tr.erf(x))
    with mirror(net) as m:
        loss = net(torch.ones(1, 2)).sum()
    m.loss(loss)
    assert m.check() > 0


class Outside(torch.autograd.Function):
    """Computed by NumPy, where no operation of PyTorch can be seen."""

    @staticmethod
    def forward(ctx: Any, x: Any) -> Any:
        return torch.from_numpy(np.sinh(x.detach().numpy()))

    @staticmethod
    def backward(ctx: Any, g: Any) -> Any:
        return g


def test_what_cannot_be_mirrored_is_said_in_a_sentence() -> None:
    net, xs = nn.Linear(4, 4), torch.ones(2, 4)
    with pytest.raises(NotImplementedError, match=r"^Outside.*cannot see it"), mirror(net):
        Outside.apply(net(xs))
    with pytest.raises(TypeError, match=r"float32 on the CPU"), mirror(net.bfloat16()):
        pass
    with pytest.raises(TypeError, match=r"on meta"), mirror(nn.LSTM(2, 3, device="meta")):
        pass
    net = nn.Linear(4, 4)
    half = torch.autocast("cpu", dtype=torch.bfloat16)
    with pytest.raises(TypeError, match="autocast"), mirror(net), half:
        net(xs).sum()


@pytest.fixture
def _without_onednn() -> Iterator[None]:
    before = torch._C._get_mkldnn_enabled()
    torch._C._set_mkldnn_enabled(False)
    yield
    torch._C._set_mkldnn_enabled(before)


@pytest.mark.usefixtures("_without_onednn")
def test_what_pytorch_computes_is_not_changed() -> None:
    """With and without the mirror: the same values, gradients and random numbers, to the bit."""
    found = []
    for watched in (False, True):
        torch.manual_seed(0)
        net, compute = MODELS["word_language_model"]()
        with mirror(net) if watched else contextlib.nullcontext():
            loss = compute(net)
        loss.backward()
        found.append([loss, torch.rand(1), *(p.grad for p in net.parameters())])
    assert all(torch.equal(a, b) for a, b in zip(*found, strict=True))
    assert not net._forward_hooks


def test_pytorch_is_as_before_after_an_error() -> None:
    net, apply = nn.RNN(2, 2), torch.autograd.Function.apply
    with pytest.raises(RuntimeError), mirror(net):
        net(torch.ones(1, 1, 3))
    assert torch.backends.mkldnn.enabled
    assert not net._forward_hooks
    assert torch.autograd.Function.apply == apply
    net(torch.ones(1, 1, 2))


def test_a_long_sequence_does_not_recurse() -> None:
    net = nn.RNN(1, 1)
    with mirror(net) as m:
        loss = net(torch.ones(1200, 1, 1))[0].sum()  # more than Python's recursion limit
    assert len(scopes(m.loss(loss))) == 1200


@pytest.mark.parametrize("level", ["op", "scope", "cell"])
def test_it_is_drawn_at_every_level(level: Any, tmp_path: Any) -> None:
    torch.manual_seed(0)
    for name in ("LSTM {}", "seq2seq_with_attention", "transformer_block")[: 3 - (level == "cell")]:
        net, compute = MODELS[name]()
        with mirror(net) as m:
            loss = compute(net.double() if name == "LSTM {}" else net)
        svg = viz.draw(m.loss(loss), tmp_path / "model.svg", level=level)
        assert svg is not None
        assert (tmp_path / "model.svg").stat().st_size > 1000


def test_a_film_of_a_training_has_a_frame_for_each_trace(tmp_path: Any) -> None:
    torch.manual_seed(0)
    net, traces, expected = nn.LSTM(2, 3).double(), {}, []
    optimiser, xs = torch.optim.Adam(net.parameters(), lr=0.1), torch.randn(4, 1, 2).double()
    for update in range(3):
        optimiser.zero_grad()
        with mirror(net) as m:
            loss = net(xs)[0][-1].pow(2).sum()
        traces[f"update {update}"] = tr.backprop(m.loss(loss))
        loss.backward()
        mine = m.parameters["weight_hh_l0"]
        found = traces[f"update {update}"].norm(mine)
        assert found == pytest.approx(net.weight_hh_l0.grad.norm().item(), rel=1e-10)
        expected.append(found)
        optimiser.step()
    assert len(set(expected)) == 3
    film = viz.film(traces, tmp_path / "film.html", level="cell")
    assert "3 frames" in repr(film)
    page = (tmp_path / "film.html").read_text(encoding="utf-8")
    assert all(f"update {update}" in page for update in range(3))


def test_a_picture_calls_states_and_weights_by_their_names(tmp_path: Any) -> None:
    """Not by what ``Module.__call__`` calls its arguments."""
    net = nn.GRU(2, 3)
    with mirror(net) as m:
        loss = net(torch.ones(4, 1, 2))[0].sum()
    viz.draw(m.loss(loss), tmp_path / "gru.svg", level="cell")
    text = (tmp_path / "gru.svg").read_text(encoding="utf-8")
    assert ">h₀<" in text
    assert ">h₃<" in text
    assert "kwargs" not in text


def test_without_pytorch_importing_says_what_to_install() -> None:
    script = "import sys; sys.modules['torch'] = None; import tinygrad_rnn.torch"
    found = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "pip install torch" in found.stderr
