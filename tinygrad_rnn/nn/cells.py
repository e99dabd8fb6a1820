"""Recurrent cells, each as its textbook equations.

A cell is called with the input ``x`` of one step, shape (B, I), and the state, and returns the
output and the new state. It knows nothing about time, which is the business of `unroll`. A state
is a tensor or a tuple of tensors. The letters are the textbooks': ``x`` input, ``h`` hidden state,
``c`` memory cell, ``y`` output, ``W_xh`` the weights from x to h, ``b`` a bias, ``i f g o`` the
gates.

Your own cell is such a class and nothing else.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from ..engine import Tensor, operations, scope
from ..functions import sigmoid, split, tanh
from .initialisers import Seed, parameter, uniform
from .module import Module

__all__ = ["ElmanCell", "GRUCell", "JordanCell", "LSTMCell", "PeepholeLSTMCell"]

Nonlinearity = Callable[[Tensor], Tensor] | str
State = tuple[Tensor, Tensor]


def _function(nonlinearity: Nonlinearity) -> Callable[[Tensor], Tensor]:
    if callable(nonlinearity):
        return nonlinearity
    function: Callable[[Tensor], Tensor] | None = operations.get(nonlinearity)
    example = Tensor(np.ones((2, 3)))
    try:
        fits = function is not None and function(example).shape == example.shape
    except (TypeError, ValueError, AttributeError):
        fits = False
    if function is None or not fits:
        raise ValueError(
            f"{nonlinearity!r} was given as a nonlinearity; expected the name of an operation that "
            f"turns a tensor into one of its shape, such as 'tanh' or 'relu', or such a function"
        )
    return function


def _zeros(batch: int, size: int, like: Tensor, name: str) -> Tensor:
    return Tensor(np.zeros((batch, size), like.dtype), name=name)


def _bias(size: int, bias: bool, draw: Callable[..., Tensor], dtype: npt.DTypeLike) -> Tensor:
    """A random bias, or constant zeros, so that the equations read the same without a bias."""
    return draw(size) if bias else Tensor(np.zeros(size, dtype))


def _draw(rng: Seed, hidden_size: int, dtype: npt.DTypeLike) -> Callable[..., Tensor]:
    """PyTorch's default initial values: all uniform within ±1/√H."""
    generator = np.random.default_rng(rng)

    def draw(*shape: int) -> Tensor:
        return parameter(uniform(generator, shape, hidden_size**-0.5), dtype)

    return draw


class ElmanCell(Module):
    """A simple recurrent cell (Elman 1990): the hidden state is fed back.

    ``h' = tanh(x W_xh + h W_hh + b)``

    Parameters
    ----------
    input_size, hidden_size : int
        I and H.
    nonlinearity : str or callable, default "tanh"
        The name of an operation, or a function of a tensor.
    bias : bool, default True
        If False, b is zero and not trained.
    rng : numpy.random.Generator, int or None
        Draws the initial values: uniform within ±1/√H, as in PyTorch.
    dtype : dtype, default float64

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.ElmanCell(3, 5, rng=0)
    >>> h, state = cell(tr.Tensor(np.ones((2, 3))), cell.initial_state(2))
    >>> h.shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        nonlinearity: Nonlinearity = "tanh",
        bias: bool = True,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        draw = _draw(rng, hidden_size, dtype)
        self.W_xh = draw(input_size, hidden_size)
        self.W_hh = draw(hidden_size, hidden_size)
        self.b = _bias(hidden_size, bias, draw, dtype)
        self.nonlinearity = _function(nonlinearity)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros of shape (B, H)."""
        return _zeros(batch, self.W_hh.shape[0], self.W_hh, "h")

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        h = self.nonlinearity(x @ self.W_xh + h @ self.W_hh + self.b)
        return h, h


class JordanCell(Module):
    """A simple recurrent cell (Jordan 1986): the *output* is fed back.

    ``h' = tanh(x W_xh + y W_yh + b)``, ``y' = softmax(h' W_hy + b_y)``

    Parameters
    ----------
    input_size, hidden_size, output_size : int
        I, H and O.
    nonlinearity : str or callable, default "tanh"
        Of the hidden layer.
    output : str or callable, default "softmax"
        The output's nonlinearity, applied before the output is fed back.
    bias, rng, dtype
        As for `ElmanCell`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.JordanCell(3, 5, 2, rng=0)
    >>> y, state = cell(tr.Tensor(np.ones((1, 3))), cell.initial_state(1))
    >>> state is y
    True
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        output_size: int,
        nonlinearity: Nonlinearity = "tanh",
        output: Nonlinearity = "softmax",
        bias: bool = True,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        draw = _draw(rng, hidden_size, dtype)
        self.W_xh = draw(input_size, hidden_size)
        self.W_yh = draw(output_size, hidden_size)
        self.b = _bias(hidden_size, bias, draw, dtype)
        self.W_hy = draw(hidden_size, output_size)
        self.b_y = _bias(output_size, bias, draw, dtype)
        self.nonlinearity = _function(nonlinearity)
        self.output = _function(output)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros of shape (B, O)."""
        return _zeros(batch, self.W_yh.shape[0], self.W_yh, "y")

    def __call__(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        h = self.nonlinearity(x @ self.W_xh + y @ self.W_yh + self.b)
        y = self.output(h @ self.W_hy + self.b_y)
        return y, y


class LSTMCell(Module):
    """Long short-term memory with a forget gate (Gers, Schmidhuber and Cummins 2000).

    ``i f g o = σ σ tanh σ (x W_xh + h W_hh + b)``, ``c' = f ⊙ c + i ⊙ g``, ``h' = o ⊙ tanh(c')``

    Parameters
    ----------
    input_size, hidden_size : int
        I and H. The weights of the four gates stand side by side in the order i, f, g, o, which is
        PyTorch's: four times the parameters of an Elman cell.
    forget_bias : float, default 0
        Added to the initial bias of the forget gate; with 1 the cell remembers at first
        (Jozefowicz, Zaremba and Sutskever 2015).
    proj_size : int, default 0
        P, if the hidden state is to be smaller than the memory cell (Sak, Senior and Beaufays
        2014): ``h' = (o ⊙ tanh(c')) W_hr``. 0 for no projection.
    bias, rng, dtype
        As for `ElmanCell`.

    Raises
    ------
    ValueError
        For a forget bias without a bias.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.LSTMCell(3, 5, rng=0)
    >>> h, (h, c) = cell(tr.Tensor(np.ones((2, 3))), cell.initial_state(2))
    >>> c.shape, sum(p.size for p in cell.parameters())
    ((2, 5), 180)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        bias: bool = True,
        forget_bias: float = 0.0,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
        proj_size: int = 0,
    ) -> None:
        draw = _draw(rng, hidden_size, dtype)
        self.W_xh = draw(input_size, 4 * hidden_size)
        self.W_hh = draw(proj_size or hidden_size, 4 * hidden_size)
        self.b = _bias(4 * hidden_size, bias, draw, dtype)
        self.W_hr = draw(hidden_size, proj_size) if proj_size else None
        if forget_bias:
            if not bias:
                raise ValueError(f"forget_bias={forget_bias} was given to a cell without a bias")
            start = self.b.data.copy()
            start[hidden_size : 2 * hidden_size] += forget_bias
            self.b.data = start

    def initial_state(self, batch: int) -> State:
        """h and c: zeros of shape (B, H) each; h of (B, proj_size) with a projection."""
        h_size, gates = self.W_hh.shape
        return _zeros(batch, h_size, self.W_hh, "h"), _zeros(batch, gates // 4, self.W_hh, "c")

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = split(x @ self.W_xh + h @ self.W_hh + self.b, 4, axis=-1)
        with scope("input gate"):
            i = sigmoid(i)
        with scope("forget gate"):
            f = sigmoid(f)
        with scope("candidate"):
            g = tanh(g)
        with scope("output gate"):
            o = sigmoid(o)
        c = f * c + i * g
        h = o * tanh(c)
        if self.W_hr is not None:
            h = h @ self.W_hr
        return h, (h, c)


class PeepholeLSTMCell(LSTMCell):
    """An LSTM whose gates see the memory cell (Gers, Schraudolph and Schmidhuber 2002).

    As `LSTMCell`, with diagonal weights from the cell state: the input and forget gates look at c
    of the step before (``p_i``, ``p_f``), the output gate at c of this step (``p_o``).

    Parameters
    ----------
    input_size, hidden_size, rng
        As for `LSTMCell`.
    **options
        Its bias, forget_bias, proj_size and dtype.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> sum(p.size for p in tr.nn.PeepholeLSTMCell(1, 1).parameters())
    15
    """

    def __init__(self, input_size: int, hidden_size: int, rng: Seed = None, **options: Any) -> None:
        rng = np.random.default_rng(rng)
        super().__init__(input_size, hidden_size, rng=rng, **options)
        draw = _draw(rng, hidden_size, self.W_hh.dtype)
        self.p_i, self.p_f, self.p_o = draw(hidden_size), draw(hidden_size), draw(hidden_size)

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        h, c = state
        i, f, g, o = split(x @ self.W_xh + h @ self.W_hh + self.b, 4, axis=-1)
        with scope("input gate"):
            i = sigmoid(i + self.p_i * c)
        with scope("forget gate"):
            f = sigmoid(f + self.p_f * c)
        with scope("candidate"):
            g = tanh(g)
        c = f * c + i * g
        with scope("output gate"):
            o = sigmoid(o + self.p_o * c)
        h = o * tanh(c)
        if self.W_hr is not None:
            h = h @ self.W_hr
        return h, (h, c)


class GRUCell(Module):
    """The gated recurrent unit (Cho et al. 2014), with the reset gate after or before the product.

    ``r z = σ(x W_xh + h W_hh + b)``, ``h' = (1 − z) ⊙ n + z ⊙ h``, and the candidate n:

    - ``reset="after"``: ``n = tanh(x W_xn + b_n + r ⊙ (h W_hn + b_hn))``, PyTorch's;
    - ``reset="before"``: ``n = tanh(x W_xn + b_n + (r ⊙ h) W_hn)``, the paper's.

    Parameters
    ----------
    input_size, hidden_size : int
        I and H. ``W_xh``, ``W_hh`` and ``b`` hold r, z and n side by side, in PyTorch's order.
    reset : {"after", "before"}
    bias, rng, dtype
        As for `ElmanCell`.

    Raises
    ------
    ValueError
        For another `reset`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.GRUCell(3, 5, reset="before", rng=0)
    >>> h, state = cell(tr.Tensor(np.ones((2, 3))), cell.initial_state(2))
    >>> h.shape
    (2, 5)
    """

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        reset: Literal["after", "before"] = "after",
        bias: bool = True,
        rng: Seed = None,
        dtype: npt.DTypeLike = np.float64,
    ) -> None:
        if reset not in ("after", "before"):
            raise ValueError(f"reset={reset!r} was given to GRUCell; expected 'after' or 'before'")
        draw = _draw(rng, hidden_size, dtype)
        self.W_xh = draw(input_size, 3 * hidden_size)
        self.reset = reset
        self.b = _bias(3 * hidden_size, bias, draw, dtype)
        if reset == "after":
            self.W_hh = draw(hidden_size, 3 * hidden_size)
            self.b_hn = _bias(hidden_size, bias, draw, dtype)
        else:  # the candidate's product has to wait for the reset gate
            self.W_hh = draw(hidden_size, 2 * hidden_size)
            self.W_hn = draw(hidden_size, hidden_size)

    def initial_state(self, batch: int) -> Tensor:
        """Zeros of shape (B, H)."""
        return _zeros(batch, self.W_hh.shape[0], self.W_hh, "h")

    def __call__(self, x: Tensor, h: Tensor) -> tuple[Tensor, Tensor]:
        r_x, z_x, n_x = split(x @ self.W_xh + self.b, 3, axis=-1)
        r_h, z_h, *n_h = split(h @ self.W_hh, 3 if self.reset == "after" else 2, axis=-1)
        with scope("reset gate"):
            r = sigmoid(r_x + r_h)
        with scope("update gate"):
            z = sigmoid(z_x + z_h)
        with scope("candidate"):
            if self.reset == "after":
                n = tanh(n_x + r * (n_h[0] + self.b_hn))
            else:
                n = tanh(n_x + (r * h) @ self.W_hn)
        h = (1.0 - z) * n + z * h
        return h, h
