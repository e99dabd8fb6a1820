"""PyTorch as oracle for layers, cells, losses and the exchange of weights."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn

torch: Any = pytest.importorskip("torch")
pytestmark = pytest.mark.oracle

TOLERANCE = {np.float64: 1e-12, np.float32: 1e-5}


def close(ours: Any, theirs: Any, tolerance: float) -> None:
    expected = theirs.detach().numpy()
    found = ours.data if isinstance(ours, tr.Tensor) else ours
    np.testing.assert_allclose(found, expected, rtol=tolerance, atol=tolerance * 10)


def gradients(module: Any) -> dict[str, np.ndarray]:
    """Our gradients under PyTorch's names, by way of the exchange itself."""
    twin = module.state_dict()
    values = {path: p.data for path, p in module.named_parameters().items()}
    module.load_state_dict({path: p.grad for path, p in module.named_parameters().items()})
    found = nn.to_torch(module)
    module.load_state_dict(values)
    assert set(twin) == set(values)
    return found


def pair(
    kind: str, dtype: Any, *sizes: int, derived: bool = False, **options: Any
) -> tuple[Any, Any]:
    theirs = getattr(torch.nn, kind)(*sizes, **options)
    theirs = theirs.double() if dtype is np.float64 else theirs
    name = {"RNNCell": "ElmanCell"}.get(kind, kind)
    how = {"wrap": tr.derive} if derived else {}
    ours = getattr(nn, name)(*sizes, **options, **how, rng=0, dtype=dtype)
    nn.from_torch(ours, theirs.state_dict())
    return ours, theirs


FLAGS = ("num_layers", "bidirectional", "bias", "batch_first")
KINDS: list[tuple[str, dict[str, Any]]] = [
    ("RNN", {"nonlinearity": "tanh"}),
    ("RNN", {"nonlinearity": "relu"}),
    ("LSTM", {}),
    ("GRU", {}),
]
CONFIGURATIONS = [
    pytest.param(
        kind,
        dict(zip(FLAGS, choice, strict=True)) | extra | ({"derived": True} if derived else {}),
        dtype,
        id=f"{kind} {choice} {extra} {dtype.__name__}{' derived' * derived}",
    )
    for kind, extra in KINDS
    for choice in itertools.product((1, 2), (False, True), (True, False), (False, True))
    for dtype, derived in ((np.float64, False), (np.float32, False), (np.float64, True))
]


@pytest.mark.parametrize(("kind", "options", "dtype"), CONFIGURATIONS)
def test_layers_agree_in_outputs_states_and_gradients(kind: str, options: Any, dtype: Any) -> None:
    torch.manual_seed(0)
    ours, theirs = pair(kind, dtype, 4, 5, **options)
    rng, tolerance = np.random.default_rng(0), TOLERANCE[dtype]
    T, B = 6, 3
    xs = rng.standard_normal((B, T, 4) if options["batch_first"] else (T, B, 4)).astype(dtype)
    count = options["num_layers"] * (2 if options["bidirectional"] else 1)
    start = [rng.standard_normal((count, B, 5)).astype(dtype) for _ in range(2)]
    h = [tr.Tensor(s, requires_grad=True) for s in start]
    g = [torch.tensor(s, requires_grad=True) for s in start]
    x, z = tr.Tensor(xs, requires_grad=True), torch.tensor(xs, requires_grad=True)
    lstm = kind == "LSTM"
    y, last = ours(x, tuple(h) if lstm else h[0])
    w, end = theirs(z, tuple(g) if lstm else g[0])
    close(y, w, tolerance)
    mine, yours = (last, end) if lstm else ((last,), (end,))
    total, wanted = (y * y).sum(), (w * w).sum()
    for p, q in zip(mine, yours, strict=True):
        close(p, q, tolerance)
        total, wanted = total + (p * p * p).sum(), wanted + (q * q * q).sum()
    total.backward()
    wanted.backward()
    close(x.grad, z.grad, tolerance)
    for p, q in zip(h[: len(mine)], g, strict=False):
        close(p.grad, q.grad, tolerance)
    found = gradients(ours)
    for name, q in theirs.named_parameters():
        if name.startswith("bias_hh") and kind != "GRU":
            continue  # zero here: PyTorch's second bias is only ever added to the first
        if name.startswith("bias_hh"):
            np.testing.assert_allclose(
                found[name][-5:], q.grad.numpy()[-5:], rtol=tolerance, atol=tolerance * 10
            )
        else:
            np.testing.assert_allclose(
                found[name], q.grad.numpy(), rtol=tolerance, atol=tolerance * 10
            )


@pytest.mark.parametrize("kind", ["RNNCell", "LSTMCell", "GRUCell"])
def test_cells_agree(kind: str) -> None:
    ours, theirs = pair(kind, np.float64, 4, 5)
    rng = np.random.default_rng(0)
    x, h, c = rng.standard_normal((3, 4)), *rng.standard_normal((2, 3, 5))
    if kind == "LSTMCell":
        output, (new_h, new_c) = ours(tr.Tensor(x), (tr.Tensor(h), tr.Tensor(c)))
        expected_h, expected_c = theirs(torch.tensor(x), (torch.tensor(h), torch.tensor(c)))
        close(new_c, expected_c, 1e-12)
    else:
        output, new_h = ours(tr.Tensor(x), tr.Tensor(h))
        expected_h = theirs(torch.tensor(x), torch.tensor(h))
    close(new_h, expected_h, 1e-12)
    close(output, expected_h, 1e-12)


@pytest.mark.parametrize("kind", ["RNN", "LSTM", "GRU"])
@pytest.mark.parametrize("bidirectional", [False, True])
@pytest.mark.parametrize("derived", [False, True])
def test_lengths_agree_with_packed_sequences(kind: str, bidirectional: bool, derived: bool) -> None:
    options = {"num_layers": 2, "bidirectional": bidirectional}
    ours, theirs = pair(kind, np.float64, 4, 5, derived=derived, **options)
    xs, lengths = np.random.default_rng(0).standard_normal((6, 3, 4)), np.array([6, 2, 4])
    xs[2:, 1], xs[4:, 2] = np.nan, np.inf  # nobody looks at what stands past an end
    x, z = tr.Tensor(xs, requires_grad=True), torch.tensor(xs, requires_grad=True)
    y, last = ours(x, lengths=lengths)
    pack = torch.nn.utils.rnn.pack_padded_sequence
    packed, end = theirs(pack(z, torch.tensor(lengths), enforce_sorted=False))
    w, _ = torch.nn.utils.rnn.pad_packed_sequence(packed, total_length=6)
    close(y, w, 1e-12)
    for p, q in zip(
        last if kind == "LSTM" else (last,), end if kind == "LSTM" else (end,), strict=True
    ):
        close(p, q, 1e-12)
    (y * y).sum().backward()
    (w * w).sum().backward()
    close(x.grad, z.grad, 1e-12)
    found = gradients(ours)
    for name, q in theirs.named_parameters():
        if not name.startswith("bias_hh"):
            close(found[name], q.grad, 1e-12)


@pytest.mark.parametrize("cell", ["elman", "lstm"])
def test_a_tagger_of_sentences_of_unlike_lengths_agrees(cell: str) -> None:
    """Embedding, cell, readout, masked cross entropy summed over steps: every gradient."""
    for seed in range(5):
        rng = np.random.default_rng(seed)
        V, E, hidden, C, T, B = rng.integers(3, 9, 6).tolist()
        lengths = rng.integers(1, T + 1, B)
        lengths[0] = T
        words, targets = rng.integers(0, V, (T, B)), rng.integers(0, C, (T, B))
        mask = np.arange(T)[:, None] < lengths
        table, head = nn.Embedding(V, E, rng=rng), nn.Linear(hidden, C, rng=rng)
        net = (nn.RNN if cell == "elman" else nn.LSTM)(E, hidden, rng=rng)
        y, _ = net(table(words), lengths=lengths)
        loss = nn.cross_entropy(head(y), targets, mask)
        loss.backward()

        W, V_out, d = (torch.tensor(p.data, requires_grad=True) for p in (table.W, head.W, head.b))
        theirs = (torch.nn.RNN if cell == "elman" else torch.nn.LSTM)(E, hidden).double()
        theirs.load_state_dict({k: torch.tensor(v) for k, v in nn.to_torch(net).items()})
        packed = torch.nn.utils.rnn.pack_padded_sequence(
            W[torch.tensor(words)], torch.tensor(lengths), enforce_sorted=False
        )
        w, _ = torch.nn.utils.rnn.pad_packed_sequence(theirs(packed)[0], total_length=T)
        logits = (w @ V_out + d)[torch.tensor(mask)]
        wanted = torch.nn.functional.cross_entropy(
            logits, torch.tensor(targets[mask]), reduction="sum"
        )
        wanted.backward()
        assert loss.item() == pytest.approx(wanted.item(), rel=1e-13)
        for ours, q in ((table.W, W), (head.W, V_out), (head.b, d)):
            close(ours.grad, q.grad, 1e-12)
        found = gradients(net)
        for name, q in theirs.named_parameters():
            if not name.startswith("bias_hh"):
                close(found[name], q.grad, 1e-12)


def test_the_exchange_reports_all_that_does_not_fit_and_changes_nothing() -> None:
    ours = nn.LSTM(4, 5, rng=0)
    before = ours.state_dict()
    state = torch.nn.LSTM(4, 5, num_layers=2).state_dict()
    del state["bias_ih_l0"]
    state["weight_hh_l0"] = torch.zeros(2, 2)
    with pytest.raises(ValueError, match=r"bias_ih_l0 is missing.*l1 is unexpected.*\(2, 2\)"):
        nn.from_torch(ours, state)
    for name, array in ours.state_dict().items():
        assert array is before[name]


@pytest.mark.parametrize(
    "module",
    [
        nn.PeepholeLSTMCell(2, 3),
        nn.GRUCell(2, 3, reset="before"),
        nn.GRU(2, 3, reset="before"),
        nn.LSTMCell(2, 3, proj_size=1),
        nn.Linear(2, 3),
    ],
)
def test_what_pytorch_does_not_have_is_refused(module: Any) -> None:
    with pytest.raises(TypeError, match="PyTorch has no counterpart"):
        nn.to_torch(module)


def channels_last(loss: Any) -> Any:
    """PyTorch's loss, which wants the classes on the second axis, for scores (T, B, C)."""
    return lambda z, y, **options: loss(
        z.movedim(-1, 1), y.movedim(-1, 1) if y.ndim == 3 else y, **options
    )


F = torch.nn.functional
WEIGHT = [0.5, 2.0, 1.0, 0.1]
# The name of a loss: ours, PyTorch's, which targets, and options that both take.
LOSSES: dict[str, tuple[Any, Any, str, list[dict[str, Any]]]] = {
    "cross_entropy": (
        nn.cross_entropy,
        channels_last(F.cross_entropy),
        "classes",
        [
            {}, {"ignore_index": 2}, {"weight": WEIGHT}, {"label_smoothing": 0.2},
            {"ignore_index": 1, "weight": WEIGHT, "label_smoothing": 0.3},
        ],
    ),
    "cross_entropy of distributions": (
        nn.cross_entropy,
        channels_last(F.cross_entropy),
        "distributions",
        [{}, {"weight": WEIGHT}, {"weight": WEIGHT, "label_smoothing": 0.2}],
    ),
    "negative_log_likelihood": (
        nn.negative_log_likelihood,
        channels_last(F.nll_loss),
        "classes",
        [{}, {"ignore_index": 2}, {"weight": WEIGHT}],
    ),
    "binary_cross_entropy_with_logits": (
        nn.binary_cross_entropy_with_logits,
        F.binary_cross_entropy_with_logits,
        "distributions",
        [{}, {"pos_weight": [3.0, 1.0, 0.5, 2.0]}],
    ),
    "mse": (nn.mse, F.mse_loss, "distributions", [{}]),
}  # fmt: skip


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, (*_, each) in LOSSES.items() for options in each],
)
def test_losses_agree(name: str, options: dict[str, Any], reduction: str) -> None:
    """Values, and gradients with respect to scores and to targets that are distributions."""
    ours, theirs, kind, _ = LOSSES[name]
    rng = np.random.default_rng(0)
    scores = rng.standard_normal((7, 3, 4)) * 5
    targets = rng.integers(0, 4, (7, 3))
    z, w = tr.Tensor(scores, requires_grad=True), torch.tensor(scores, requires_grad=True)
    y: Any = targets
    u: Any = torch.tensor(targets)
    if kind == "distributions":
        targets = rng.dirichlet(np.ones(4), (7, 3))
        y, u = tr.Tensor(targets, requires_grad=True), torch.tensor(targets, requires_grad=True)
    their_options = {
        k: torch.tensor(v, dtype=torch.float64) if isinstance(v, list) else v
        for k, v in options.items()
    }
    loss = ours(z, y, **options, reduction=reduction)
    wanted = theirs(w, u, **their_options, reduction=reduction)
    close(loss, wanted, 1e-13)
    (loss * loss).sum().backward()
    (wanted * wanted).sum().backward()
    close(z.grad, w.grad, 1e-12)
    if kind == "distributions":
        close(y.grad, u.grad, 1e-12)


@pytest.mark.parametrize("reduction", ["sum", "mean", "none"])
@pytest.mark.parametrize(
    ("name", "options"),
    [(name, options) for name, (*_, each) in LOSSES.items() for options in each],
)
def test_what_a_mask_leaves_out_enters_no_loss_and_no_gradient(
    name: str, options: dict[str, Any], reduction: str
) -> None:
    """NaN and infinite scores, targets that are no classes: as if they were not there."""
    ours, _, kind, _ = LOSSES[name]
    rng = np.random.default_rng(0)
    scores, mask = rng.standard_normal((7, 3, 4)), rng.random((7, 3)) > 0.4
    by_entry = name in ("mse", "binary_cross_entropy_with_logits")
    targets: Any = rng.integers(0, 4, (7, 3))
    if kind == "distributions":
        targets = rng.dirichlet(np.ones(4), (7, 3))
    alone = tr.Tensor(scores[mask], requires_grad=True)
    expected = ours(alone, targets[mask], **options, reduction=reduction)
    expected.sum().backward()
    scores[~mask] = rng.choice([np.nan, np.inf, -np.inf], scores[~mask].shape)
    targets[~mask] = 17 if kind == "classes" else np.nan
    z = tr.Tensor(scores, requires_grad=True)
    whole = np.broadcast_to(mask[..., None], scores.shape) if by_entry else mask
    with np.errstate(invalid="raise"):
        loss = ours(z, targets, whole, **options, reduction=reduction)
        loss.sum().backward()
    found = loss.data[mask] if reduction == "none" else loss.data
    np.testing.assert_allclose(found, expected.data, rtol=1e-13)
    assert z.grad is not None
    np.testing.assert_allclose(z.grad[mask], alone.grad, rtol=1e-12, atol=1e-15)
    assert not z.grad[~mask].any()


@pytest.mark.parametrize("name", LOSSES)
def test_integer_scores_count_as_floating_ones(name: str) -> None:
    """Targets and weights are not cut down to integers beside them."""
    ours, _, kind, options = LOSSES[name]
    targets = [[0.25, 0.75, 0.0, 0.0]] if kind == "distributions" else [3]
    for each in options:
        found = ours(tr.Tensor([[1, 0, -2, 3]]), targets, **each)
        expected = ours(tr.Tensor([[1.0, 0.0, -2.0, 3.0]]), targets, **each)
        np.testing.assert_allclose(found.data, expected.data)


def test_every_loss_is_a_sum_unless_it_is_asked_for_something_else() -> None:
    for ours, _, kind, _ in LOSSES.values():
        z, y = tr.Tensor(np.ones((2, 3, 4))), np.ones((2, 3), int)
        targets = np.full((2, 3, 4), 0.25) if kind == "distributions" else y
        np.testing.assert_allclose(
            ours(z, targets).data, ours(z, targets, reduction="none").data.sum()
        )


def test_a_loss_is_a_few_operations_in_a_scope_of_its_own() -> None:
    z = tr.Tensor(np.zeros((3, 2, 4)), requires_grad=True)
    loss = nn.cross_entropy(z, np.zeros((3, 2), int))
    assert loss.scope.path == "cross entropy"
    made = {event.tensor.number for event in tr.backprop(loss).events if event.tensor.primitive}
    assert len(made) == 4


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda z: nn.cross_entropy(z, [0, 4]), "classes from 0 to 4; the scores have 3"),
        (lambda z: nn.cross_entropy(z, [0, -1]), "classes from -1 to 0"),
        (lambda z: nn.cross_entropy(z, [[0], [1]]), r"one class for each row of scores \(2, 3\)"),
        (lambda z: nn.cross_entropy(z, [0.0, 1.0]), r"or, .*, distributions of the scores' shape"),
        (lambda z: nn.cross_entropy(z, np.ones((2, 3)), ignore_index=1), "without an ignore_index"),
        (lambda z: nn.cross_entropy(z, [0, 1], mask=[True]), r"the mask .* expected \(2,\)"),
        (lambda z: nn.cross_entropy(z, [0, 1], weight=[1.0]), r"the weight .* expected \(3,\)"),
        (lambda z: nn.cross_entropy(z, [0, 1], label_smoothing=2), "label_smoothing=2"),
        (lambda z: nn.cross_entropy(z, [0, 1], reduction="max"), "'sum', 'mean' or 'none'"),
        (
            lambda z: nn.mse(z, z, mask=np.full((2, 3), 0.5)),
            "mask holds float64; expected booleans",
        ),
        (lambda z: nn.mse(z, [1.0]), r"the targets .* expected \(2, 3\)"),
    ],
)
def test_targets_that_do_not_fit(call: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        call(tr.Tensor(np.zeros((2, 3))))
