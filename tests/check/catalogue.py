"""A catalogue of wrong derivatives, to test checkers with: each realistic, each a small patch.

Most are a wrong rule, planted in the record of a right net: the forward pass stays as it is. Some
are a graph that was cut. Some are backpropagation through time as people write it by hand in NumPy,
with the slips that people make. `benchmarks/kill_table.py` runs them all through several checkers.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tinygrad_rnn import nn
from tinygrad_rnn.check.subject import nodes_of
from tinygrad_rnn.engine import Tensor, no_grad, operations, primitive, step
from tinygrad_rnn.engine.primitives import Scattered
from tinygrad_rnn.functions import softmax, stack

__all__ = ["MISTAKES", "Mistake"]

Function = Callable[..., Any]
T, B, I, H = 5, 2, 2, 3  # noqa: E741


@dataclass(frozen=True)
class Mistake:
    """One wrong derivative.

    Attributes
    ----------
    name : str
        What is wrong, in a few words.
    make : callable
        Returns ``(f, inputs)``, a function of tensors that records the wrong gradient; for a
        mistake by hand ``(f, df, inputs)``, a function of arrays and its wrong gradients.
    right : callable
        The same without the mistake.
    op : str or None
        The operation at fault. None if no rule is: the graph was cut, or it is code by hand.
    input : int
        Which input's rule.
    step : int or None
        The only time step at which the rule is wrong, if it is one.
    order : {1, 2}
        2 if only second derivatives are wrong.
    """

    name: str
    make: Callable[[], tuple[Any, ...]]
    right: Callable[[], tuple[Any, ...]]
    op: str | None = None
    input: int = 0
    step: int | None = None
    order: int = 1

    @property
    def by_hand(self) -> bool:
        """Whether the derivative was written by hand, as a function of arrays."""
        return len(self.make()) == 3


# --- nets and functions that are right ----------------------------------------------------------


def _draw(*shape: int) -> Any:
    return np.random.default_rng(sum(shape)).normal(size=shape)


def _net(cell: Any, steps: int = T, **options: Any) -> Callable[[], tuple[Function, list[Any]]]:
    def make() -> tuple[Function, list[Any]]:
        ready = cell()
        return lambda xs: nn.unroll(ready, xs, **options)[0], [_draw(steps, B, I)]

    return make


def _of(f: Function, *inputs: Any) -> Callable[[], tuple[Function, list[Any]]]:
    return lambda: (f, list(inputs))


def _bidirectional() -> tuple[Function, list[Any]]:
    both = nn.Bidirectional(nn.ElmanCell(I, H, rng=0), nn.ElmanCell(I, H, rng=1))
    return lambda xs: both(xs)[0], [_draw(T, B, I)]


_elman = _net(lambda: nn.ElmanCell(I, H, rng=0))
_square = _net(lambda: nn.ElmanCell(I, I, rng=0))  # W_xh is square: its transpose has its shape
_relu = _net(lambda: nn.ElmanCell(I, H, nonlinearity="relu", rng=0))
_jordan = _net(lambda: nn.JordanCell(I, H, 2, rng=0))
_lstm = _net(lambda: nn.LSTMCell(I, H, rng=0))
_peephole = _net(lambda: nn.PeepholeLSTMCell(I, H, rng=0))
_gru = _net(lambda: nn.GRUCell(I, H, rng=0))
_masked = _net(lambda: nn.ElmanCell(I, H, rng=0), lengths=[T, 2])
_long = _net(lambda: nn.ElmanCell(I, H, rng=0), steps=200)
_positive = np.abs(_draw(3, 4)) + 0.5
_words = np.array([2, 0, 2, 1])

# --- wrong rules, planted in a record -----------------------------------------------------------


def _planted(
    make: Callable[[], tuple[Function, list[Any]]], op: str, input: int, rule: Any, at: Any
) -> Callable[[], tuple[Function, list[Any]]]:
    """The same function, whose record has another rule at the operations that `at` picks."""

    def make_wrong() -> tuple[Function, list[Any]]:
        f, inputs = make()

        def wrong(*xs: Any) -> Any:
            outputs = f(*xs)
            flat = outputs if isinstance(outputs, list) else [outputs]
            for node in nodes_of(flat):
                known = node.primitive
                if known is not None and known.name == op and at(node):
                    rules = [rule] if known.joint else list(known.rules)
                    rules[0 if known.joint else input] = rule
                    node.primitive = dataclasses.replace(known, rules=tuple(rules))
            return outputs

        return wrong, inputs

    return make_wrong


def _everywhere(node: Tensor) -> bool:
    return True


def _at(t: int) -> Callable[[Tensor], bool]:
    return lambda node: bool(node.scope and node.scope.step == t)


def _inside(name: str) -> Callable[[Tensor], bool]:
    return lambda node: bool(node.scope and node.scope.name == name)


def _is_carry(node: Tensor) -> bool:
    """The product f ⊙ c of an LSTM: its second input was computed by an addition, not a gate."""
    x = node.inputs[1]
    return isinstance(x, Tensor) and x.primitive is not None and x.primitive.name == "add"


def _from_state(node: Tensor) -> bool:
    """The product with h, not with x: its first input was computed at all."""
    x = node.inputs[0]
    return isinstance(x, Tensor) and x.primitive is not None and x.primitive.name != "getitem"


def _is_gate_slice(node: Tensor) -> bool:
    return len(node.kwargs["key"]) > 1


def _spoilt(change: Callable[[Any], Any]) -> Any:
    """tanh's own rule, and then something done to one entry."""

    def rule(g: Any, y: Any, x: Any) -> Any:
        message = np.array(g * (1.0 - y * y))
        message[..., -1, 1] = change(message[..., -1, 1])
        return message

    return rule


def _shifted_gates(g: Any, y: Any, x: Any, key: Any, repeats: bool) -> Any:
    return np.roll(Scattered(g, key, repeats, x.shape).dense(), g.shape[-1], axis=-1)


def _overwritten(g: Any, y: Any, x: Any, key: Any, repeats: bool) -> Any:
    found = np.zeros(x.shape)
    found[key] = g
    return found


def _swapped(g: Any, y: Any, *xs: Any, axis: int) -> Any:
    return tuple(np.split(g, len(xs), axis=axis)[::-1])


def _ones_like(g: Any, x: Any) -> Any:
    return g.sum() * np.ones_like(x)


_softmax = primitive(
    "softmax",
    lambda x: softmax(x, axis=-1),
    lambda g, y, x: y * (g - (g * y).sum(axis=-1, keepdims=True)),
)

# What is wrong, the net, the operation and its input, the wrong rule, where (or the only step).
_RULES: list[tuple[str, Any, str, int, Any, Any]] = [
    ("1 - y for 1 - y²", _elman, "tanh", 0, lambda g, y, x: g * (1 - y), _everywhere),
    ("1 - y for 1 - y², at t=2 only", _lstm, "tanh", 0, lambda g, y, x: g * (1 - y), 2),
    ("at one of 200 steps only", _long, "tanh", 0, lambda g, y, x: g * (1 - y), 137),
    ("1 - x² for 1 - y²", _elman, "tanh", 0, lambda g, y, x: g * (1 - x * x), _everywhere),
    ("derivative left out", _elman, "tanh", 0, lambda g, y, x: g, 3),
    ("y for y (1 - y)", _gru, "sigmoid", 0, lambda g, y, x: g * y, _everywhere),
    ("sign of a gate", _lstm, "sigmoid", 0, lambda g, y, x: -g * y * (1 - y),
     _inside("forget gate")),
    ("a factor of 2", _jordan, "tanh", 0, lambda g, y, x: 2 * g * (1 - y * y), _everywhere),
    ("one entry's sign", _elman, "tanh", 0, _spoilt(lambda m: -m), 1),
    ("one entry off by 1e-4 of it", _elman, "tanh", 0, _spoilt(lambda m: m * 1.0001), 1),
    ("one entry missing", _gru, "tanh", 0, _spoilt(lambda m: 0 * m), _everywhere),
    ("gradient of the output ignored", _elman, "tanh", 0, lambda g, y, x: 1 - y * y, _everywhere),
    ("right for the sum of outputs only", _elman, "tanh", 0,
     lambda g, y, x: g.mean() * (1 - y * y), _everywhere),
    ("a constant added", _elman, "tanh", 0, lambda g, y, x: g * (1 - y * y) + 1e-3, 4),
    ("transposed weight gradient", _square, "matmul", 1, lambda g, y, a, b: (a.T @ g).T, 2),
    ("first sequence of the batch only", _elman, "matmul", 1,
     lambda g, y, a, b: a[:1].T @ g[:1], _everywhere),
    ("weight not transposed", _square, "matmul", 0, lambda g, y, a, b: g @ b, _everywhere),
    ("last step only", _elman, "matmul", 0, lambda g, y, a, b: 0 * a, _from_state),
    ("broadcast sum missing", _elman, "add", 1,
     lambda g, y, a, b: g[0] if b.ndim < g.ndim else g, _everywhere),
    ("mean over the batch for the sum", _elman, "add", 1,
     lambda g, y, a, b: g.mean(axis=0) if b.ndim < g.ndim else g, _everywhere),
    ("cell-state carry dropped", _lstm, "multiply", 1, lambda g, y, a, b: 0 * b, _is_carry),
    ("the other factor", _gru, "multiply", 0, lambda g, y, a, b: g * a, 1),
    ("peephole path missing", _peephole, "multiply", 1, lambda g, y, a, b: 0 * b,
     _inside("input gate")),
    ("gates in the wrong order", _lstm, "getitem", 0, _shifted_gates, _is_gate_slice),
    ("mask not applied to the carry", _masked, "where", 2, lambda g, y, c, a, b: g, _everywhere),
    ("mask not applied to the new state", _masked, "where", 1, lambda g, y, c, a, b: g, 3),
    ("directions swapped", _bidirectional, "concatenate", 0, _swapped, _everywhere),
    ("relu's mask from the wrong side", _relu, "relu", 0, lambda g, y, x: g * (x < 0),
     _everywhere),
    ("relu passes everything", _relu, "relu", 0, lambda g, y, x: g, 2),
    ("max to every entry", _of(lambda x: operations["max"](x, axis=0), _draw(3, 4)), "max", 0,
     lambda g, y, x, axis=None, keepdims=False: g + 0 * x, _everywhere),
    ("softmax as if diagonal", _of(lambda x: _softmax(x), _draw(3, 4)), "softmax", 0,
     lambda g, y, x: g * y * (1 - y), _everywhere),
    ("quotient without its square", _of(lambda a, b: a / b, _draw(3, 4), _positive), "divide", 1,
     lambda g, y, a, b: -g * a / b, _everywhere),
    ("exponent off by one", _of(lambda x: x**3, _draw(3, 4)), "power", 0,
     lambda g, y, a, b: g * b * a**b, _everywhere),
    ("subtraction's sign", _of(lambda a, b: a - b, _draw(3, 4), _draw(3, 4)), "subtract", 1,
     lambda g, y, a, b: g, _everywhere),
    ("clip passes everything", _of(lambda x: operations["clip"](x, -0.5, 0.5), _draw(3, 4)),
     "clip", 0, lambda g, y, x, low, high: g, _everywhere),
    ("|x| without its sign", _of(lambda x: abs(x), _draw(3, 4)), "abs", 0, lambda g, y, x: g,
     _everywhere),
    ("√ without its reciprocal", _of(lambda x: x.sqrt(), _positive), "sqrt", 0,
     lambda g, y, x: g * 0.5 * y, _everywhere),
    ("sum as if it were a mean", _of(lambda x: x.sum(axis=0), _draw(3, 4)), "sum", 0,
     lambda g, y, x, axis=None, keepdims=False: g / x.shape[0] + 0 * x, _everywhere),
    ("all entries' sum to each", _of(lambda x: x.sum(axis=0), _draw(3, 4)), "sum", 0,
     lambda g, y, x, axis=None, keepdims=False: _ones_like(g, x), _everywhere),
    ("reshape in the other order", _of(lambda x: x.reshape(4, 3), _draw(3, 4)), "reshape", 0,
     lambda g, y, x, shape: g.reshape(x.shape, order="F"), _everywhere),
    ("repeated indices overwrite", _of(lambda W: W[_words], _draw(3, 4)), "getitem", 0,
     _overwritten, _everywhere),
]  # fmt: skip

# --- graphs that were cut, and rules that hide from the record ----------------------------------


def _cut(how: Callable[[Any, int], Any]) -> Callable[[], tuple[Function, list[Any]]]:
    """An LSTM whose state is handed from step to step through `how`."""

    def make() -> tuple[Function, list[Any]]:
        cell = nn.LSTMCell(I, H, rng=0)

        def f(xs: Any) -> Any:
            state: Any = cell.initial_state(B)
            outputs = []
            for t in range(T):
                with step(t):
                    output, state = cell(xs[t], how(state, t))
                    outputs.append(output)
            return stack(outputs)

        return f, [_draw(T, B, I)]

    return make


def _without_record(state: Any, t: int) -> Any:
    with no_grad():
        return (state[0] * 1.0, state[1] * 1.0) if t == 3 else state


_uncut = _cut(lambda state, t: state)
_GRAPHS = [
    ("cell state detached", _cut(lambda state, t: (state[0], state[1].detach()))),
    ("state detached once", _cut(lambda s, t: (s[0].detach(), s[1].detach()) if t == 2 else s)),
    ("one step not recorded", _cut(_without_record)),
    ("a constant made of .data", _cut(lambda s, t: (Tensor(s[0].data), s[1]) if t == 4 else s)),
]
_tanh = primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - y * y))
_hiding = primitive("tanh", np.tanh, lambda g, y, x: g * (1.0 - _array(y) ** 2))
_hiding_power = primitive(
    "square", np.square, lambda g, y, x: g * 2.0 * _array(x), lambda g, y, x: None
)


def _array(x: Any) -> Any:
    return x.data if isinstance(x, Tensor) else x


def _elman_with(nonlinearity: Any) -> Callable[[], tuple[Function, list[Any]]]:
    return _net(lambda: nn.ElmanCell(I, H, nonlinearity=nonlinearity, rng=0), steps=3)


# --- by hand ------------------------------------------------------------------------------------

Arrays = dict[str, Any]


def _parameters(gates: int) -> Arrays:
    shapes = {"xs": (T, B, I), "W_xh": (I, gates * H), "W_hh": (H, gates * H), "b": (gates * H,)}
    return {name: _draw(*shape) / 2 for name, shape in shapes.items()}


def _states(p: Arrays) -> list[Any]:
    found = [np.zeros((B, H))]
    for x in p["xs"]:
        found.append(np.tanh(x @ p["W_xh"] + found[-1] @ p["W_hh"] + p["b"]))
    return found


def _loss(p: Arrays) -> Any:
    return sum((t + 1) * np.sum(h**2) for t, h in enumerate(_states(p)[1:])) / B


def _bptt(p: Arrays, mistake: str = "") -> Arrays:
    """Backpropagation through time of `_loss` as one would write it, slips on request."""
    hs = _states(p)
    d: Arrays = {name: np.zeros_like(array) for name, array in p.items()}
    back = np.zeros((B, H))
    for t in reversed(range(len(p["xs"]))):
        h, before = hs[t + 1], hs[t]
        own = 2 * (t + 1) * h / (1 if mistake == "1/B missing" else B)
        dz = (own + back) * (1 - h * h)
        only_own = mistake == "input gradient of its own step only"
        d["xs"][t] = (own * (1 - h * h) if only_own else dz) @ p["W_xh"].T
        d["W_xh"] += p["xs"][t].T @ dz
        part = (h if mistake == "h_t for h_t-1" else before).T @ dz
        d["W_hh"] = part if mistake == "= for +=" else d["W_hh"] + part
        d["b"] = d["b"] + (dz if mistake == "bias not summed over the batch" else dz.sum(axis=0))
        back = 0 * dz if mistake == "nothing through time" else dz @ p["W_hh"].T
    return d


def _flipped(p: Arrays) -> Arrays:
    return p | {"xs": p["xs"][::-1]}


def _both_losses(p: Arrays) -> Any:
    return _loss(p) + _loss(_flipped(p))


def _both(p: Arrays, mistake: str = "") -> Arrays:
    there, back = _bptt(p), _bptt(_flipped(p))
    if mistake != "not flipped back":
        back = _flipped(back)
    return {name: there[name] + back[name] for name in p}


def _lstm_states(p: Arrays) -> list[Any]:
    """h, c and the gates i, f, g, o of each step; the start first."""
    found: list[Any] = [(np.zeros((B, H)), np.zeros((B, H)), ())]
    for x in p["xs"]:
        h, c, _ = found[-1]
        i, f, g, o = np.split(x @ p["W_xh"] + h @ p["W_hh"] + p["b"], 4, axis=1)
        i, f, g, o = _sigmoid(i), _sigmoid(f), np.tanh(g), _sigmoid(o)
        c = f * c + i * g
        found.append((o * np.tanh(c), c, (i, f, g, o)))
    return found


def _sigmoid(x: Any) -> Any:
    return 1 / (1 + np.exp(-x))


def _lstm_loss(p: Arrays) -> Any:
    return sum((t + 1) * np.sum(h**2) for t, (h, _, _) in enumerate(_lstm_states(p)[1:]))


def _lstm_bptt(p: Arrays, mistake: str = "") -> Arrays:
    """The same for `_lstm_loss`."""
    states = _lstm_states(p)
    d: Arrays = {name: np.zeros_like(array) for name, array in p.items()}
    dh = dc = np.zeros((B, H))
    for t in reversed(range(len(p["xs"]))):
        (h, c, (i, f, g, o)), (h_before, c_before, _) = states[t + 1], states[t]
        dh = 2 * (t + 1) * h + dh
        carried = 0 * dc if mistake == "LSTM's cell-state carry dropped" else dc
        dc = dh * o * (1 - np.tanh(c) ** 2) + carried
        df = dc * c_before * (f if mistake == "LSTM's σ for its derivative" else f * (1 - f))
        dz = [dc * g * i * (1 - i), df, dc * i * (1 - g * g), dh * np.tanh(c) * o * (1 - o)]
        biases = [df, df, dz[2], df] if mistake == "LSTM's biases of i and o from f" else dz
        if mistake == "LSTM's gates in the wrong order":
            dz = biases = [dz[k] for k in (0, 1, 3, 2)]
        together = np.concatenate(dz, axis=1)
        d["xs"][t] = together @ p["W_xh"].T
        if t == T - 1 or mistake != "LSTM's input weights of the last step only":
            d["W_xh"] += p["xs"][t].T @ together
        d["W_hh"] += h_before.T @ together
        d["b"] += np.concatenate(biases, axis=1).sum(axis=0)
        dh, dc = together @ p["W_hh"].T, dc * f
    return d


def _hand(name: str, f: Function = _loss, df: Any = _bptt, gates: int = 1) -> Mistake:
    return Mistake(
        f"by hand: {name}",
        lambda: (f, lambda p: df(p, name), [_parameters(gates)]),
        lambda: (f, df, [_parameters(gates)]),
    )


def _hand_lstm(name: str) -> Mistake:
    return _hand(f"LSTM's {name}", _lstm_loss, _lstm_bptt, gates=4)


# Where a comment names a repository, the mistake was found in it.
_BY_HAND = [
    _hand("h_t for h_t-1"),  # github.com/VikParuchuri/zero_to_gpt, issue 9, at the first step
    _hand("= for +="),
    # eriklindernoren/ML-From-Scratch, RNN.backward_pass: right at the last step only.
    _hand("input gradient of its own step only"),
    _hand("nothing through time"),  # qixianbiao/RNN, issue 2
    _hand("bias not summed over the batch"),
    _hand("1/B missing"),
    _hand("not flipped back", _both_losses, _both),
    # hanbt/learn_dl, lstm.py, has these three. Its own check moves W_hf alone, over two steps from
    # a zero state, with a cotangent of ones: none of the three can be seen there.
    _hand_lstm("cell-state carry dropped"),
    _hand_lstm("biases of i and o from f"),
    _hand_lstm("input weights of the last step only"),
    _hand_lstm("σ for its derivative"),  # nicklashansen/rnn_lstm_from_scratch, issue 1
    _hand_lstm("gates in the wrong order"),
]


def _rule(row: tuple[str, Any, str, int, Any, Any]) -> Mistake:
    name, make, op, input, rule, at = row
    only = at if isinstance(at, int) else None
    where = _at(at) if isinstance(at, int) else at
    wrong = _planted(make, op, input, rule, where)
    return Mistake(name, wrong, make, op, input, only)


MISTAKES: Sequence[Mistake] = (
    *map(_rule, _RULES),
    *(Mistake(name, make, _uncut) for name, make in _GRAPHS),
    Mistake("rule hides y from the record", _elman_with(_hiding), _elman_with(_tanh), "tanh",
            order=2),
    Mistake("rule hides x from the record", _of(lambda x: _hiding_power(x), _draw(3, 4)),
            _of(lambda x: x * x, _draw(3, 4)), "square", order=2),
    *_BY_HAND,
)  # fmt: skip
