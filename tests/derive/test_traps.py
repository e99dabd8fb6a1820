"""Cells that tempt a program to be silently wrong: each is derived right, or refused by name."""

from __future__ import annotations

import functools
import gc
import linecache
import threading
import types
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr

from .test_program import everything

T, B, S = 6, 3, 4  # inputs and states alike


def weight(*shape: int, seed: int = 0) -> tr.Tensor:
    start = np.random.default_rng(seed).uniform(-0.5, 0.5, shape or (S, S))
    return tr.Tensor(start, requires_grad=True)


class Cell(tr.nn.Module):
    """A cell from the function that computes a step of it."""

    states = 1

    def __init__(self, **parts: Any) -> None:
        self.W, self.U = weight(), weight(seed=1)
        vars(self).update(parts)

    def initial_state(self, batch: int) -> Any:
        zeros = tuple(tr.Tensor(np.zeros((batch, S))) for _ in range(self.states))
        return zeros if self.states > 1 else zeros[0]


def cell(step: Any, states: int = 1, **parts: Any) -> Any:
    """A cell whose `__call__` is a function."""
    return type("Made", (Cell,), {"__call__": step, "states": states})(**parts)


def results(run: Any, cell: Any, lengths: Any = None, scale: float = 1.0) -> list[np.ndarray]:
    rng = np.random.default_rng(3)
    xs = scale * rng.standard_normal((T, B, S))
    several = getattr(cell, "states", 1)
    state = [scale * rng.standard_normal((B, S)) for _ in range(several)]
    return everything(run, cell, xs, state, lengths, False)


def assert_derives(cell: Any, program: Any = None, scale: float = 1.0) -> Any:
    program = program or tr.derive(cell)
    for lengths in (None, [6, 2, 4]):
        want = results(functools.partial(tr.nn.unroll, cell), cell, lengths, scale)
        got = results(program, cell, lengths, scale)
        for w, g in zip(want, got, strict=True):
            np.testing.assert_allclose(g, w, rtol=1e-10, atol=1e-10 * np.abs(w).max(initial=1e-300))
    return program


def assert_refused(cell: Any, words: str, xs: Any = None) -> None:
    with pytest.raises(tr.DeriveError, match=words):
        tr.derive(cell)(np.ones((T, B, S)) if xs is None else xs)


# --- states that change at one stroke -----------------------------------------------------------


def delay(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    return tr.tanh(a + b), (b, x @ self.W)


def swap(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    return tr.tanh(a @ self.W + b), (b, a)


def long_delay(self: Any, x: Any, state: Any) -> Any:
    a, b, c = state
    return tr.tanh(a @ self.W + x), (b, c, tr.tanh(x @ self.U))


def same_twice(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    h = tr.tanh(x @ self.W + a - b)
    return a * b, (h, h)


def mean_of_the_old(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    return tr.tanh(a + b), (tr.tanh(x @ self.W), a - a.mean())


def kept(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    return a * x, (a, tr.tanh(b @ self.W + a))


def both_old(self: Any, x: Any, state: Any) -> Any:
    a, b = state
    return a @ self.W, (b * a, a + x)


def old_output(self: Any, x: Any, h: Any) -> Any:
    return h, tr.tanh(x @ self.W + h @ self.U)


def no_recurrence(self: Any, x: Any, h: Any) -> Any:
    return x @ self.W, x


def constant_state(self: Any, x: Any, h: Any) -> Any:
    return x @ self.W + h, tr.broadcast_to(self.U[0], (3, S))


STATES = {
    "delay": (delay, 2), "swap": (swap, 2), "long delay": (long_delay, 3),
    "same twice": (same_twice, 2), "mean": (mean_of_the_old, 2), "kept": (kept, 2),
    "both old": (both_old, 2), "old output": (old_output, 1), "no recurrence": (no_recurrence, 1),
    "constant state": (constant_state, 1),
}  # fmt: skip


@pytest.mark.parametrize("name", STATES)
def test_states_change_at_one_stroke(name: str) -> None:
    assert_derives(cell(*STATES[name]))


# --- sums over everything, and functions at their ends ------------------------------------------


def total(self: Any, x: Any, h: Any) -> Any:
    h = tr.tanh(x @ self.W + h / (1.0 + (h * h).sum()))
    return h, h


def total_of_all(self: Any, x: Any, h: Any) -> Any:
    s = tr.sigmoid((x @ self.W).sum() + h.max())
    return h * s, tr.tanh(h + s)


def log_sigmoid(self: Any, x: Any, h: Any) -> Any:
    a = 300.0 * (x @ self.W)
    return tr.log(tr.sigmoid(a)), tr.tanh(h + x)


def inverse_sigmoid(self: Any, x: Any, h: Any) -> Any:
    return 1.0 / tr.sigmoid(20.0 * x), tr.tanh(h @ self.W)


@pytest.mark.parametrize("step", [total, total_of_all, log_sigmoid, inverse_sigmoid])
def test_sums_over_everything_and_the_engines_own_sigmoid(step: Any) -> None:
    assert_derives(cell(step))


def test_the_printed_sigmoid_is_the_engines() -> None:
    found: dict[str, Any] = {}
    exec(tr.derive(tr.nn.LSTMCell(2, 3, rng=0)).source, found)
    edges = np.array([-np.inf, -1e300, -745.0, -709.5, -88.5, -0.0, 0.0, 40.0, 1e9, np.inf, np.nan])
    x = np.concatenate([edges, np.linspace(-800, 800, 100_001)])
    for dtype in (np.float64, np.float32):
        with np.errstate(over="ignore"):
            values = x.astype(dtype)
        np.testing.assert_array_equal(found["sigmoid"](values), tr.sigmoid.forward(values))


def test_single_precision_outputs_beside_double_states() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W + h @ self.U)
        return h.astype(np.float32), h

    mixed = cell(step)
    xs = np.random.default_rng(0).standard_normal((T, B, S))
    want, _ = tr.nn.unroll(mixed, xs)
    got, _ = tr.derive(mixed)(xs)
    assert got.dtype == want[0].dtype == np.float32
    np.testing.assert_allclose(got.data, tr.stack(want).data, rtol=1e-6)
    (g,) = tr.grad(got.sum(), mixed.W)
    (right,) = tr.grad(tr.stack(want).sum(), mixed.W)
    np.testing.assert_allclose(g.data, right.data, rtol=1e-6)


# --- operations of one's own --------------------------------------------------------------------


def own(name: str, factor: float) -> Any:
    return tr.primitive(
        name, lambda x: factor * np.tanh(x), lambda g, y, x: g * (factor - y * y / factor)
    )


@tr.primitive("where", rules=[lambda g, y, x: g * 3.0 * x * x], entrywise=True)
def cube(x: Any, /) -> Any:
    return x**3


@pytest.mark.parametrize("name", ["tanh", "sigmoid", "max", "where", "sum", "getitem", "a b", "np"])
def test_operations_are_known_by_themselves_not_by_name(name: str) -> None:
    one, other = own(name, 2.0), own(name, 3.0)

    def step(self: Any, x: Any, h: Any) -> Any:
        h = one(x @ self.W + other(h @ self.U))
        return tr.tanh(cube(h)), h

    assert_derives(cell(step))


def test_what_an_own_operation_is_spelled_like_keeps_its_brackets() -> None:
    @tr.primitive(rules=[lambda g, y, a, b: g, lambda g, y, a, b: -g], entrywise=True)
    def minus(a: Any, b: Any, /) -> Any:
        return a - b

    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(minus(x @ self.W, minus(h, x)) ** 2 * minus(x, h))
        return minus(h, minus(x, minus(h, x))), -h / (2.0 - (-x) ** 2.0 - 3.0)

    assert_derives(cell(step))


# --- weights, wherever they are -----------------------------------------------------------------

GLOBAL = weight(seed=5)
NAMESPACE = types.SimpleNamespace(W=weight(seed=6))


class Held:
    W = weight(seed=7)


class Plain:
    """Not a Module."""

    def __init__(self) -> None:
        self.layers = {"in": [weight(seed=8)], "out": (weight(seed=9),)}

    def initial_state(self, batch: int) -> Any:
        return tr.Tensor(np.zeros((batch, S)))

    def parameters(self) -> list[tr.Tensor]:
        return [self.layers["in"][0], self.layers["out"][0], GLOBAL, NAMESPACE.W, Held.W]

    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.layers["in"][0] + h @ GLOBAL + h @ NAMESPACE.W)
        return h @ self.layers["out"][0] + h @ Held.W, h


def test_weights_of_plain_objects_globals_and_namespaces() -> None:
    plain = Plain()
    program = assert_derives(plain)
    for w in plain.parameters():  # and the new ones are used
        w.data = 0.7 * w.data
    assert_derives(plain, program)
    assert len(program._made) == 2
    assert all(len(made) == 1 for made in program._made.values())


def test_weights_and_settings_of_a_module_of_ones_own() -> None:
    config, part = types.ModuleType("config"), types.ModuleType("config.part")
    vars(config).update(W=weight(seed=12), scale=0.5, part=part, calls=0)
    vars(part).update(shift=0.25)

    def imported(name: str) -> Any:  # when it is asked for, and more with it
        vars(config).setdefault("more", 1.0)
        return vars(config).setdefault(name, 2.0)

    vars(config).update(__getattr__=imported)

    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(config.scale * x @ config.W + h @ self.U + config.part.shift) * config.late
        return h, h

    made = cell(step)
    program = tr.derive(made)
    program(np.ones((T, B, S)))
    assert_derives(made, program)
    config.W.data = 2.0 * config.W.data
    config.scale = 0.75
    assert_derives(made, program)
    config.part.shift = -1.0
    assert_derives(made, program)

    def counting(self: Any, x: Any, h: Any) -> Any:
        config.calls += 1
        return (x @ self.W if config.calls == 1000 else x), h + x

    assert_refused(cell(counting), r"a step changes .*calls")
    assert config.calls == 0


def test_a_cell_that_is_a_function() -> None:
    W, scale = weight(seed=3), 0.5

    def step(x: Any, h: Any) -> Any:
        h = tr.tanh(scale * x @ W + h @ GLOBAL)
        return h, h

    step.initial_state = lambda batch: tr.Tensor(np.zeros((batch, S)))  # type: ignore[attr-defined]
    step.parameters = lambda: [W, GLOBAL]  # type: ignore[attr-defined]
    program = assert_derives(step)
    W.data = 2.0 * W.data
    assert_derives(step, program)
    scale = 0.25
    assert_derives(step, program)


def test_a_readout_that_is_a_bound_method() -> None:
    class Trainer(tr.nn.Module):
        def __init__(self) -> None:
            self.head = tr.nn.Linear(S, 2, rng=0)
            self.cell = tr.nn.ElmanCell(S, S, rng=0)
            self.program = tr.derive(self.cell, readout=self.loss)

        def loss(self, h: Any) -> Any:
            return (self.head(h) ** 2).sum(axis=-1)

    trainer = Trainer()
    xs = np.random.default_rng(0).standard_normal((T, B, S))
    for _ in range(2):
        losses, _ = trainer.program(xs)
        outputs, _ = tr.nn.unroll(trainer.cell, xs)
        want = tr.stack([trainer.loss(h) for h in outputs])
        np.testing.assert_allclose(losses.data, want.data, rtol=1e-12)
        (g,), (right,) = tr.grad(losses.sum(), trainer.head.W), tr.grad(want.sum(), trainer.head.W)
        np.testing.assert_allclose(g.data, right.data, rtol=1e-12)
        trainer.head.W.data = trainer.head.W.data * 1.5
        trainer.cell.W_hh.data = trainer.cell.W_hh.data * 0.5


def test_a_frozen_copy_of_a_weight_is_another_weight() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W + h @ self.old)
        return h, h

    tied = cell(step)
    tied.old = tied.W.detach()
    program = assert_derives(tied)
    tied.W.data = 2.0 * tied.W.data
    assert_derives(tied, program)


# --- programs that would be out of date ---------------------------------------------------------


def settings(self: Any, x: Any, h: Any) -> Any:
    h = self.leak * h + self.nonlinearity(x @ self.W) * self.options["scale"] + self.mask
    return (h if self.training else 0.5 * h), h


def test_a_changed_setting_is_used() -> None:
    made = cell(settings, leak=0.9, nonlinearity=tr.tanh, options={"scale": 1.0}, mask=np.zeros(S))
    program = assert_derives(made)
    made.leak = 0.1
    assert_derives(made, program)
    made.nonlinearity = tr.sigmoid
    assert_derives(made, program)
    made.options["scale"] = -2.0
    assert_derives(made, program)
    made.mask[1] = 7.0
    assert_derives(made, program)
    made.eval()
    assert_derives(made, program)
    made.train()
    before = len(program._made)
    assert_derives(made, program)
    assert len(program._made) == before
    type(made).leak = 3.0
    del made.leak
    assert_derives(made, program)
    made.W = weight(seed=11)
    assert_derives(made, program)
    made.U.requires_grad = made.W.requires_grad = False
    assert_derives(made, program)


def test_what_a_step_does_not_read_may_change() -> None:
    class Trainer:
        def __init__(self) -> None:
            self.epoch, self.losses, self.data = 0, [0.0], np.zeros(3)
            self.scale, self.head = 2.0, tr.nn.Linear(S, 2, rng=0)

        def loss(self, h: Any) -> Any:
            return self.scale * self.head(h).sum(axis=-1)

    trainer = Trainer()
    program = tr.derive(tr.nn.ElmanCell(S, S, rng=0), readout=trainer.loss)
    for epoch in range(3):
        program(np.ones((T, B, S)))
        trainer.epoch = epoch
        trainer.losses.append(1.0)
        trainer.data[epoch] = 1.0
    assert [len(made) for made in program._made.values()] == [1]
    trainer.scale = 3.0
    losses, _ = program(np.ones((T, B, S)))
    outputs, _ = tr.nn.unroll(program.cell, np.ones((T, B, S)))
    np.testing.assert_allclose(losses.data[-1], trainer.loss(outputs[-1]).data, rtol=1e-12)


# --- what Python computes from the data ---------------------------------------------------------

DATA = {
    "sign of a sum": lambda h: -h if h.sum().item() > 0 else h,
    "norm": lambda h: h / (1.0 + np.linalg.norm(h.data)),
    "largest": lambda h: h / np.abs(h.data).max(),
    "size": lambda h: h * 0.5 if np.abs(h.data).max() > 1 else h,
    "item": lambda h: h * (h * h).sum().item(),
    "renormalised": lambda h: h / 2.0 if np.linalg.norm(h.data) > 1.0 else h,
    "overflow": lambda h: tr.clip(h, -1.0, 1.0) if (np.abs(h.data) > 3).any() else h,
    "all zero": lambda h: h + 1.0 if not h.data.any() else h,
    "noise": lambda h: h + np.random.default_rng().standard_normal(S),
    "rounded": lambda h: h + np.round(h.data),
    "nonzero": lambda h: h * float(np.count_nonzero(h.data > 0)),
}


@pytest.mark.parametrize("name", DATA)
@pytest.mark.parametrize("where", ["x", "h"])
def test_what_python_computes_from_the_data_is_refused(name: str, where: str) -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        x, h = (DATA[name](x), h) if where == "x" else (x, DATA[name](h))
        h = tr.tanh(x @ self.W + h @ self.U)
        return h, h

    made = cell(step)
    assert_refused(made, r"cannot be derived: .* at test_traps.py, line \d+")
    tr.nn.unroll(made, np.ones((T, B, S)), np.ones((B, S)))  # still runs


WEIGHTS = {
    "spectral norm": lambda W: W / np.linalg.norm(W.data, 2),
    "mask of weights": lambda W: W * (np.abs(W.data) > 0.1),
    "signs": lambda W: W * np.sign(W.data),
    "copy": lambda W: W + W.data.copy(),
    "as it is": lambda W: W.data,
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_what_python_computes_from_the_weights_is_refused(name: str) -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ WEIGHTS[name](self.W) + h @ self.U)
        return h, h

    made = cell(step)
    before = made.W.data.copy()
    assert_refused(made, r"cannot be derived: .* at test_traps.py, line \d+")
    np.testing.assert_array_equal(made.W.data, before)


def test_dropout_after_a_first_call_in_eval_mode_is_refused() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W + h @ self.U)
        if self.training:
            h = h * (self.rng.random(h.shape) > 0.5)
        return h, h

    made = cell(step, rng=np.random.default_rng(0))
    made.eval()
    program = assert_derives(made)
    made.train()
    with pytest.raises(tr.DeriveError, match="drawn at random"):
        program(np.ones((T, B, S)))


# --- cells that count ---------------------------------------------------------------------------


def counting(self: Any, x: Any, h: Any) -> Any:
    self.t += 1
    h = tr.tanh(x @ self.W + h @ self.U)
    return (h * 0.0 if self.t == 5 else h), h


def remembering(self: Any, x: Any, h: Any) -> Any:
    self.seen.append(1)
    h = tr.tanh(x @ self.W * len(self.seen) + h @ self.U)
    return h, h


def writing(self: Any, x: Any, h: Any) -> Any:
    self.buffer[0] += 1.0
    return tr.tanh(h @ self.W + self.buffer), h


@pytest.mark.parametrize(
    ("step", "name"), [(counting, "t"), (remembering, "seen"), (writing, "buffer")]
)
def test_a_cell_that_changes_itself_is_refused_by_the_attributes_name(step: Any, name: str) -> None:
    made = cell(step, t=0, seen=[], buffer=np.zeros(S))
    with pytest.raises(tr.DeriveError):
        tr.derive(made)(np.ones((T, B, S)))
    assert made.t == 0
    assert made.seen == []
    assert not made.buffer.any()
    if step is counting:
        assert_refused(made, r"a step changes t\b")


COUNT = 0


def test_a_global_counter_is_refused() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        global COUNT
        COUNT += 1
        h = tr.tanh(x @ self.W + h @ self.U)
        return (h * 0.0 if COUNT % 1000 == 0 else h), h

    assert_refused(cell(step), r"a step changes .*\bCOUNT\b")


def test_a_setting_that_the_user_counts_up_is_a_setting() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W + h @ self.U)
        return (2.0 * h if self.t == 5 else h), h

    made = cell(step, t=4)
    program = assert_derives(made)
    made.t = 5
    assert_derives(made, program)


# --- words --------------------------------------------------------------------------------------


class Words(Cell):
    def __init__(self) -> None:
        super().__init__()
        self.table = tr.nn.Embedding(7, S, rng=0)

    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(self.table(x) @ self.W + h @ self.U)
        return h, h


@pytest.mark.parametrize("first", ["words", "zeros"])
@pytest.mark.parametrize("lengths", [None, [6, 2, 4]])
def test_cells_that_look_words_up(first: str, lengths: Any) -> None:
    made = Words()
    words = np.random.default_rng(0).integers(7, size=(T, B))
    program = tr.derive(made)
    if first == "zeros":  # a first step, and a first call, of the word 0 alone
        program(np.zeros((T, B), int))
        words[0] = 0
    want = tr.stack(tr.nn.unroll(made, [tr.Tensor(w) for w in words], lengths=lengths)[0])
    got, _ = program(words, lengths=lengths)
    np.testing.assert_allclose(got.data, want.data, rtol=1e-12)
    seed = np.random.default_rng(1).standard_normal(got.shape)
    for p in made.parameters():
        (g,), (right,) = tr.grad((got * seed).sum(), p), tr.grad((want * seed).sum(), p)
        np.testing.assert_allclose(g.data, right.data, rtol=1e-10, atol=1e-12)


def test_words_taken_out_of_their_tensor_are_refused() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(self.W[x.data % S] + h @ self.U)
        return h, h

    assert_refused(cell(step), "cannot be derived: getitem", np.zeros((T, B), int))


# --- unroll's arguments -------------------------------------------------------------------------


def test_unroll_runs_a_program_with_every_argument() -> None:
    lstm = tr.nn.LSTMCell(S, S, rng=0)
    program = tr.derive(lstm)
    rng = np.random.default_rng(0)
    xs = rng.standard_normal((T, B, S))
    state = [rng.standard_normal((B, S)).astype(np.float32) for _ in range(2)]  # a list, promoted
    how: dict[str, Any] = {"lengths": [6, 2, 4], "reverse": True, "first_step": 10}
    want, last = tr.nn.unroll(lstm, xs, state, **how)
    got, end = tr.nn.unroll(program, xs, state, **how)
    np.testing.assert_allclose(got.data, tr.stack(want).data, rtol=1e-12)
    assert isinstance(end, tuple)
    for a, b in zip(last, end, strict=True):
        assert a.dtype == b.dtype == np.float64
        np.testing.assert_allclose(b.data, a.data, rtol=1e-12)
    packed = got.inputs[0]
    assert packed.scope.owner is lstm
    assert "10" in packed.scope.path
    assert packed.scope.state_out == tuple(s.number for s in end)


def test_a_state_carried_on_without_detaching_is_found() -> None:
    program = tr.derive(tr.nn.ElmanCell(S, S, rng=0))
    xs = np.ones((T, B, S))
    outputs, h = program(xs)
    outputs.sum().backward()
    again, _ = program(xs, h)
    with pytest.raises(RuntimeError, match="detach"):
        again.sum().backward()


def test_a_program_derived_without_recording_is_right_with_it() -> None:
    made = tr.nn.ElmanCell(S, S, rng=0)
    program = tr.derive(made)
    with tr.no_grad():
        program(np.ones((T, B, S)))
    (g,) = tr.grad(program(np.ones((T, B, S)))[0].sum(), made.W_hh)
    (right,) = tr.grad(tr.stack(tr.nn.unroll(made, np.ones((T, B, S)))[0]).sum(), made.W_hh)
    np.testing.assert_allclose(g.data, right.data, rtol=1e-12)


# --- the machinery around it --------------------------------------------------------------------


def test_an_interrupted_derivation_leaves_no_scope_open() -> None:
    def step(self: Any, x: Any, h: Any) -> Any:
        with tr.scope("inner"):
            raise KeyboardInterrupt

    with tr.scope("mine") as mine:
        with pytest.raises(KeyboardInterrupt):
            tr.derive(cell(step))(np.ones((T, B, S)))
        y = tr.Tensor(1.0, requires_grad=True) * 2.0
    assert y.scope is mine
    assert (tr.Tensor(1.0, requires_grad=True) * 2.0).scope is None


def test_each_program_is_its_own_file_and_tracebacks_show_its_lines() -> None:
    import cProfile
    import pstats
    import traceback

    programs = [tr.derive(tr.nn.ElmanCell(S, S, rng=k)) for k in range(2)]
    profile = cProfile.Profile()
    with profile:
        for program in programs:
            program(np.ones((T, B, S)))
    stats: Any = pstats.Stats(profile)
    files = {file for file, _, name in stats.stats if name == "forward" and "program" in file}
    assert len(files) == 2
    made = next(iter(programs[0]._made.values()))[0]
    try:
        made.forward(np.ones((T, B, S)), np.ones((B, S + 1)), *(w.data for w in made.weights))
    except ValueError:
        assert "@ W_hh" in traceback.format_exc()


def test_a_program_that_is_gone_leaves_no_text_behind() -> None:
    before = len(linecache.cache)
    for k in range(3):
        tr.derive(tr.nn.ElmanCell(S, S, rng=k)).source  # noqa: B018
    gc.collect()
    assert len(linecache.cache) <= before + 1  # a file of ours may have been looked up


def test_a_wrong_program_is_not_handed_out(monkeypatch: Any) -> None:
    import sys

    module = sys.modules["tinygrad_rnn.derive.program"]
    real = module.write

    def wrong(*arguments: Any) -> Any:
        text, namespace = real(*arguments)
        return text.replace("rows(hs[:-1]).T", "rows(hs[1:]).T"), namespace

    monkeypatch.setattr(module, "write", wrong)
    with pytest.raises(tr.DeriveError, match=r"gradient of W_hh differs"):
        tr.derive(tr.nn.ElmanCell(S, S, rng=0))(np.ones((T, B, S)))


@pytest.mark.parametrize("scale", [1e-8, 1e4])
def test_huge_and_tiny_numbers(scale: float) -> None:
    assert_derives(cell(old_output), scale=scale)


# --- odd cells ----------------------------------------------------------------------------------


def test_a_counter_may_be_part_of_the_state() -> None:
    class Counting(Cell):
        def initial_state(self, batch: int) -> Any:
            return tr.Tensor(np.zeros((batch, S))), tr.Tensor(np.zeros((batch, 1), int))

        def __call__(self, x: Any, state: Any) -> Any:
            h, t = state
            h = tr.where(t > 2, tr.tanh(x @ self.W + h @ self.U), x)
            return h, (h, t + 1)

    made = Counting()
    xs = np.random.default_rng(0).standard_normal((T, B, S))
    want, (_, count) = tr.nn.unroll(made, xs)
    got, (_, counted) = tr.derive(made)(xs)
    np.testing.assert_allclose(got.data, tr.stack(want).data, rtol=1e-12)
    np.testing.assert_array_equal(counted.data, count.data)
    assert counted.dtype == count.dtype
    (g,), (right,) = tr.grad((got**2).sum(), made.W), tr.grad((tr.stack(want) ** 2).sum(), made.W)
    np.testing.assert_allclose(g.data, right.data, rtol=1e-12)


def constant(self: Any, x: Any, h: Any) -> Any:
    return tr.Tensor(np.zeros((3, S))), tr.tanh(x @ self.W + h)


def reset(self: Any, x: Any, h: Any) -> Any:
    return tr.tanh(x @ self.W + h), tr.Tensor(np.zeros((3, S)))


@pytest.mark.parametrize("step", [constant, reset])
def test_a_constant_result_is_refused(step: Any) -> None:
    assert_refused(cell(step), "has not computed from its input, its state or its weights")


def sliced_backwards(self: Any, x: Any, h: Any) -> Any:
    h = tr.tanh(x[:, ::-1] @ self.W + h[:, 3::-1] + h[:, 0::-1])
    return h[:, -2:], h


def deep(self: Any, x: Any, h: Any) -> Any:
    y = x[:, :, None] * h[:, None, :]
    return y.swapaxes(1, 2).sum(axis=2), tr.tanh((y @ self.W).reshape(-1, S * S) @ self.V)


def three_axes(self: Any, x: Any, h: Any) -> Any:
    y = tr.stack([x, h, x * h], axis=1)
    return tr.softmax(y, axis=1).reshape(3, -1), tr.tanh(y @ self.W).max(axis=1)


@pytest.mark.parametrize("step", [sliced_backwards, deep, three_axes])
def test_slices_and_shapes(step: Any) -> None:
    made = cell(step, V=weight(S * S, S, seed=4))
    assert_derives(made)


class Slotted:
    __slots__ = ("W", "scale")

    def __init__(self) -> None:
        self.W, self.scale = weight(), 2.0

    def initial_state(self, batch: int) -> Any:
        return tr.Tensor(np.zeros((batch, S)))

    def parameters(self) -> list[tr.Tensor]:
        return [self.W]

    def __call__(self, x: Any, h: Any) -> Any:
        h = tr.tanh(x @ self.W * self.scale + h)
        return h, h


class Inherited(Cell):
    @property
    def half(self) -> Any:
        return self.W * 0.5

    @staticmethod
    def act(x: Any) -> Any:
        return tr.tanh(x)

    def __getattr__(self, name: str) -> Any:
        if name == "extra":
            return 3.0
        raise AttributeError(name)

    def __call__(self, x: Any, h: Any) -> Any:
        h = self.act(x @ self.half * self.extra + h)
        return h, h


class Inheriting(Inherited):
    def __init__(self) -> None:
        super().__init__()
        self.lock, self.me = threading.Lock(), {"myself": self}

    def __call__(self, x: Any, h: Any) -> Any:
        with self.lock:
            output, h = super().__call__(x, h)
        for p in self.parameters():
            output = output @ p @ vars(self.me["myself"])["W"]
        return output, h


def unrecorded(self: Any, x: Any, h: Any) -> Any:
    with tr.no_grad():
        y = tr.tanh(x @ self.W)
    h = tr.tanh(y * h + h.detach() @ self.U)
    return h, h


class Remembering(Cell):
    """Attends to what it computed in the last three steps."""

    def initial_state(self, batch: int) -> Any:
        return tr.Tensor(np.zeros((batch, S))), tr.Tensor(np.zeros((batch, 3, S)))

    def __call__(self, x: Any, state: Any) -> Any:
        h, memory = state
        weights = tr.softmax((memory @ h.reshape((-1, S, 1)))[:, :, 0], axis=1)
        h = tr.tanh(x @ self.W + (weights[:, :, None] * memory).sum(axis=1) @ self.U)
        return h, (h, tr.concatenate([memory[:, 1:], h[:, None, :]], axis=1))


@pytest.mark.parametrize("make", [Slotted, Inherited, Inheriting, lambda: cell(unrecorded)])
def test_cells_that_are_written_in_unusual_ways(make: Any) -> None:
    assert_derives(make())


def test_the_settings_of_slots_are_watched_too() -> None:
    made = Slotted()
    program = assert_derives(made)
    made.scale = 0.5
    assert_derives(made, program)
    made.W.data = 2.0 * made.W.data
    assert_derives(made, program)


def test_a_constant_array_may_stand_first() -> None:
    constant = np.array([0.5, 0.9, -0.1, 0.3])

    def step(self: Any, x: Any, h: Any) -> Any:
        h = tr.tanh(constant * (x @ self.W) + constant * (h @ self.U))
        return h, h

    assert_derives(cell(step))


def test_a_program_may_be_derived_in_the_middle_of_a_complex_step() -> None:
    made, xs = tr.nn.ElmanCell(S, S, rng=0), np.random.default_rng(0).normal(size=(2, B, S))
    assert tr.check.gradcheck(lambda xs: tr.derive(made)(xs), xs)


def test_a_state_with_three_axes() -> None:
    made = Remembering()
    xs = np.random.default_rng(0).standard_normal((T, B, S))
    for lengths in (None, [6, 2, 4]):
        want, (_, last) = tr.nn.unroll(made, xs, lengths=lengths)
        got, (_, end) = tr.derive(made)(xs, lengths=lengths)
        np.testing.assert_allclose(got.data, tr.stack(want).data, rtol=1e-12)
        np.testing.assert_allclose(end.data, last.data, rtol=1e-12)
        for p in made.parameters():
            (g,), (right,) = tr.grad((end * end).sum(), p), tr.grad((last * last).sum(), p)
            np.testing.assert_allclose(g.data, right.data, rtol=1e-11)


def test_a_program_in_a_cell_is_refused() -> None:
    inner = tr.derive(tr.nn.ElmanCell(S, S, rng=0))

    def step(self: Any, x: Any, h: Any) -> Any:
        _, last = inner(tr.stack([x, x]))
        h = tr.tanh(last @ self.W + h)
        return h, h

    assert_refused(cell(step), "cannot be derived")
