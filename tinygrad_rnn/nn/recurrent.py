"""Nets of cells: both directions, several layers, and PyTorch's RNN, LSTM and GRU.

All are combinations of `unroll`. A layer is a cell, or a module called as
``layer(xs, state, lengths) -> (outputs, state)`` with one output tensor a step.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

from ..engine import Tensor, broadcast_to, scope
from ..functions import concatenate, stack, transpose
from .cells import ElmanCell, GRUCell, LSTMCell
from .initialisers import Seed, parameter
from .module import Module
from .unroll import State, as_state, unroll

__all__ = ["GRU", "LSTM", "RNN", "Bidirectional", "LearnedState", "Stacked"]


class Bidirectional(Module):
    """Two cells over the same sequence, one in each direction (Schuster and Paliwal 1997).

    Parameters
    ----------
    forward, backward : cells
        Each step's output is that of `forward` and that of `backward` side by side.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> both = tr.nn.Bidirectional(tr.nn.ElmanCell(2, 3, rng=0), tr.nn.GRUCell(2, 4, rng=1))
    >>> outputs, (h_forward, h_backward) = both(np.ones((5, 1, 2)))
    >>> outputs[0].shape, h_backward.shape
    ((1, 7), (1, 4))
    """

    def __init__(self, forward: Any, backward: Any) -> None:
        self.forward = forward
        self.backward = backward

    def __call__(
        self, xs: Any, state: State = None, lengths: Any = None
    ) -> tuple[list[Tensor], State]:
        """As `unroll`; the state is a pair, one for each direction."""
        ahead, back = (None, None) if state is None else state
        with scope("forward"):
            left, ahead = unroll(self.forward, xs, ahead, lengths)
        with scope("backward"):
            right, back = unroll(self.backward, xs, back, lengths, reverse=True)
        if isinstance(left, Tensor) and isinstance(right, Tensor):  # of programs, stacked already
            return concatenate([left, right], axis=-1), (ahead, back)
        both = [concatenate([a, b], axis=-1) for a, b in zip(left, right, strict=True)]
        return both, (ahead, back)


class Stacked(Module):
    """Several layers: each reads the outputs of the one below.

    Parameters
    ----------
    *layers : cells or layers
        From the lowest up, in any mix.
    dropout : float, default 0
        The share of a layer's outputs that is set to zero before the next layer reads them, while
        `Module.training`; the rest is scaled up to keep the mean.
    rng : numpy.random.Generator, int or None
        Draws what is dropped.

    Raises
    ------
    ValueError
        If there are no layers, or `dropout` is not a share below 1.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> net = tr.nn.Stacked(tr.nn.LSTMCell(2, 3, rng=0), tr.nn.ElmanCell(3, 4, rng=1))
    >>> outputs, states = net(np.ones((5, 1, 2)))
    >>> outputs[-1].shape, len(states)
    ((1, 4), 2)
    """

    def __init__(self, *layers: Any, dropout: float = 0.0, rng: Seed = None) -> None:
        if not layers:
            raise ValueError("Stacked was given no layers; it needs at least one")
        if not 0 <= dropout < 1:
            raise ValueError(f"dropout={dropout} was given; expected 0 up to, not including, 1")
        self.layers = list(layers)
        self.dropout = dropout
        self.rng = np.random.default_rng(rng)

    def __call__(
        self, xs: Any, state: State = None, lengths: Any = None
    ) -> tuple[list[Tensor], State]:
        """As `unroll`; the state is a tuple, one for each layer."""
        states = [None] * len(self.layers) if state is None else list(state)
        if len(states) != len(self.layers):
            raise ValueError(
                f"Stacked was given {len(states)} states; expected one for each of its "
                f"{len(self.layers)} layers"
            )
        for k, layer in enumerate(self.layers):
            with scope(f"layer {k}"):
                if k and self.dropout and self.training:
                    stacked = isinstance(xs, Tensor)
                    xs = self._dropped(xs) if stacked else [self._dropped(x) for x in xs]
                run = partial(unroll, layer) if hasattr(layer, "initial_state") else layer
                xs, states[k] = run(xs, states[k], lengths)
        return xs, tuple(states)

    def _dropped(self, x: Tensor) -> Tensor:
        kept = (self.rng.random(x.shape) >= self.dropout) / (1.0 - self.dropout)
        return x * kept.astype(x.dtype)


class LearnedState(Module):
    """A cell whose initial state is learned rather than zero.

    Parameters
    ----------
    cell : cell
        Learning starts from its own initial state for a batch of one.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> cell = tr.nn.LearnedState(tr.nn.LSTMCell(2, 3, rng=0))
    >>> outputs, _ = tr.nn.unroll(cell, np.ones((5, 4, 2)))
    >>> outputs[-1].sum().backward()
    >>> [p.grad.shape for p in cell.start]
    [(1, 3), (1, 3)]
    """

    def __init__(self, cell: Any) -> None:
        self.cell = cell
        state = cell.initial_state(1)
        self._single = isinstance(state, Tensor)
        parts = (state,) if self._single else state
        self.start = tuple(parameter(part.data, part.dtype) for part in parts)

    def initial_state(self, batch: int) -> State:
        """The learned state, for every sequence of the batch."""
        state = tuple(broadcast_to(p, (batch, *p.shape[1:])) for p in self.start)
        return state[0] if self._single else state

    def __call__(self, x: Tensor, state: State) -> tuple[Tensor, State]:
        output: tuple[Tensor, State] = self.cell(x, state)
        return output


class _Recurrent(Module):
    """What RNN, LSTM and GRU have in common: `Stacked` cells behind PyTorch's interface."""

    make_cell: Callable[..., Any]

    def __init__(
        self,
        input_size: int,
        hidden_size: int,
        num_layers: int = 1,
        *,
        batch_first: bool = False,
        dropout: float = 0.0,
        bidirectional: bool = False,
        wrap: Callable[[Any], Any] | None = None,
        rng: Seed = None,
        **options: Any,
    ) -> None:
        rng = np.random.default_rng(rng)
        directions = 2 if bidirectional else 1
        size, layers = input_size, []
        for _ in range(num_layers):
            make = type(self).make_cell
            layers.append([make(size, hidden_size, rng=rng, **options) for _ in range(directions)])
            size = directions * (options.get("proj_size") or hidden_size)

        def stacked(layers: list[list[Any]]) -> Stacked:
            each = [Bidirectional(*cells) if bidirectional else cells[0] for cells in layers]
            return Stacked(*each, dropout=dropout, rng=rng)

        self.net = stacked(layers)
        # Wrappers share the cells' parameters, whose paths stay those below `net`.
        self.wrapped = stacked([[wrap(c) for c in cells] for cells in layers]) if wrap else None
        self.batch_first = batch_first
        self.directions = directions

    def cells(self) -> list[Any]:
        """Every cell, layer by layer, forward before backward."""
        return [
            cell
            for layer in self.net.layers
            for cell in ((layer.forward, layer.backward) if self.directions == 2 else (layer,))
        ]

    def __call__(self, xs: Any, state: Any = None, lengths: Any = None) -> tuple[Tensor, Any]:
        """Run the net over whole sequences.

        Parameters
        ----------
        xs : Tensor or array of shape (T, B, I), or (B, T, I) if `batch_first`
            Or (T, I), a single sequence: then nothing below has a batch axis.
        state : Tensor (layers · directions, B, H), or a pair of them for an LSTM, optional
        lengths : array_like of B integers, optional

        Returns
        -------
        outputs : Tensor (T, B, directions · H), or (B, T, ...) if `batch_first`
        state : as given

        Raises
        ------
        ValueError
            If the inputs or the state have another number of axes, or there are no such layers.
        """
        xs = xs if isinstance(xs, Tensor) else Tensor(xs)
        if xs.ndim not in (2, 3):
            raise ValueError(
                f"{type(self).__name__} was given inputs of shape {xs.shape}; expected "
                f"{'(B, T, I)' if self.batch_first else '(T, B, I)'}, or (T, I) for one sequence"
            )
        single = xs.ndim == 2
        if single:
            xs = xs[:, None]
        elif self.batch_first:
            xs = transpose(xs, (1, 0, 2))
        net = self.wrapped or self.net
        outputs, last = net(xs, None if state is None else self._unpacked(state, single), lengths)
        outputs, state = stack(outputs), self._packed(last, single)
        if single:
            return outputs[:, 0], state
        return (transpose(outputs, (1, 0, 2)) if self.batch_first else outputs), state

    def _unpacked(self, state: Any, single: bool) -> list[Any]:
        """PyTorch's stacked state as one for each layer (a pair of them where bidirectional)."""
        count = len(self.net.layers) * self.directions
        state = as_state(state)
        parts = state if isinstance(state, tuple) else (state,)
        wrong = [p.shape for p in parts if p.ndim != (2 if single else 3) or len(p) != count]
        if wrong:
            raise ValueError(
                f"{type(self).__name__} was given a state of shape {wrong[0]}; expected "
                f"({count}, {'' if single else 'B, '}H): {len(self.net.layers)} layers in "
                f"{self.directions} direction(s)"
            )
        if single:
            parts = tuple(part[:, None] for part in parts)
        each = list(zip(*parts, strict=True) if isinstance(state, tuple) else parts[0])
        return each if self.directions == 1 else list(zip(each[::2], each[1::2], strict=True))

    def _packed(self, last: Any, single: bool) -> Any:
        each = last if self.directions == 1 else [part for pair in last for part in pair]
        several = isinstance(each[0], tuple)
        parts = [stack(states) for states in (zip(*each, strict=True) if several else [each])]
        if single:
            parts = [part[:, 0] for part in parts]
        return tuple(parts) if several else parts[0]


class RNN(_Recurrent):
    """Elman cells in PyTorch's ``nn.RNN`` interface.

    Parameters
    ----------
    input_size, hidden_size : int
    num_layers : int, default 1
    batch_first : bool, default False
        Take and return (B, T, ...).
    dropout : float, default 0
        Between layers, while training.
    bidirectional : bool, default False
    wrap : callable, optional
        Applied to each cell; its result runs in the cell's place. ``wrap=tr.derive`` runs derived
        programs: faster, and without a record of single steps; parameters and results are the same.
        ``wrap=functools.partial(tr.derive, target="c")`` runs them compiled.
    rng : numpy.random.Generator, int or None
        Draws the initial values, then dropout.
    **options
        The cells' own: nonlinearity, bias and dtype, as for `ElmanCell`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> net = tr.nn.RNN(2, 3, num_layers=2, bidirectional=True, rng=0)
    >>> outputs, h = net(np.ones((5, 1, 2)))
    >>> outputs.shape, h.shape
    ((5, 1, 6), (4, 1, 3))
    """

    make_cell = ElmanCell


class LSTM(_Recurrent):
    """LSTM cells in PyTorch's ``nn.LSTM`` interface; the state is the pair (h, c).

    Parameters
    ----------
    input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, wrap, rng
        As for `RNN`.
    **options
        The cells' own: bias, forget_bias, proj_size and dtype, as for `LSTMCell`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> outputs, (h, c) = tr.nn.LSTM(2, 3, rng=0)(np.ones((5, 1, 2)))
    >>> outputs.shape, c.shape
    ((5, 1, 3), (1, 1, 3))
    """

    make_cell = LSTMCell


class GRU(_Recurrent):
    """GRU cells, reset after the product, in PyTorch's ``nn.GRU`` interface.

    Parameters
    ----------
    input_size, hidden_size, num_layers, batch_first, dropout, bidirectional, wrap, rng
        As for `RNN`.
    **options
        The cells' own: reset, bias and dtype, as for `GRUCell`.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> outputs, h = tr.nn.GRU(2, 3, batch_first=True, rng=0)(np.ones((1, 5, 2)))
    >>> outputs.shape, h.shape
    ((1, 5, 3), (1, 1, 3))
    """

    make_cell = GRUCell
