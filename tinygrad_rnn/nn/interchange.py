"""Weights to and from PyTorch, as plain dicts of arrays: PyTorch itself is not needed.

PyTorch keeps the transposed weights, and two biases that are simply added; here there is one.
The two biases of a GRU's candidate differ (the reset gate multiplies one), and both are kept.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..engine import Array, Tensor
from .cells import ElmanCell, GRUCell, LSTMCell
from .module import Module, fitted
from .recurrent import GRU, LSTM, RNN

__all__ = ["from_torch", "to_torch"]


def from_torch(module: Module, state_dict: Mapping[str, Any]) -> None:
    """Give `module` the weights of the PyTorch module that has its sizes.

    Parameters
    ----------
    module : RNN, LSTM, GRU, ElmanCell, LSTMCell or GRUCell
    state_dict : mapping of str to array or torch.Tensor
        ``torch_module.state_dict()`` of ``nn.RNN``, ``nn.LSTM``, ``nn.GRU`` or their cells.

    Raises
    ------
    TypeError
        If PyTorch has no such module.
    ValueError
        Naming all entries that do not fit, as `Module.load_state_dict`; nothing is changed.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> a, b = tr.nn.LSTM(2, 3, rng=0), tr.nn.LSTM(2, 3, rng=1)
    >>> tr.nn.from_torch(b, tr.nn.to_torch(a))
    >>> bool((a.cells()[0].W_hh.data == b.cells()[0].W_hh.data).all())
    True
    """
    problem = f"the PyTorch weights do not fit {type(module).__name__}"
    given = dict(fitted(state_dict, to_torch(module), problem))
    for cell, suffix in _cells(module):
        for theirs, W in _weights(cell):
            W.data = given[theirs + suffix].T  # a view, and so copied, in C order
        if cell.b.requires_grad:
            b_x, b_h = given[f"bias_ih{suffix}"], given[f"bias_hh{suffix}"]
            if isinstance(cell, GRUCell):
                own = len(cell.b_hn)
                cell.b_hn.data = b_h[-own:]
                b_h = np.concatenate([b_h[:-own], np.zeros(own, b_h.dtype)])
            cell.b.data = b_x + b_h


def to_torch(module: Module) -> dict[str, Array]:
    """The weights of `module` under PyTorch's names, in its shapes.

    Parameters
    ----------
    module : RNN, LSTM, GRU, ElmanCell, LSTMCell or GRUCell

    Returns
    -------
    dict of str to ndarray
        The second bias is zero, but for the candidate of a GRU. In PyTorch:
        ``net.load_state_dict({k: torch.tensor(v) for k, v in to_torch(module).items()})``.

    Raises
    ------
    TypeError
        If PyTorch has no such module.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> {key: array.shape for key, array in tr.nn.to_torch(tr.nn.ElmanCell(2, 3)).items()}
    {'weight_ih': (3, 2), 'weight_hh': (3, 3), 'bias_ih': (3,), 'bias_hh': (3,)}
    """
    found: dict[str, Array] = {}
    for cell, suffix in _cells(module):
        for theirs, W in _weights(cell):
            found[theirs + suffix] = np.ascontiguousarray(W.data.T)
        if cell.b.requires_grad:
            found[f"bias_ih{suffix}"] = cell.b.data.copy()
            found[f"bias_hh{suffix}"] = np.zeros_like(cell.b.data)
            if isinstance(cell, GRUCell):
                found[f"bias_hh{suffix}"][-len(cell.b_hn) :] = cell.b_hn.data
    return found


def _weights(cell: Any) -> list[tuple[str, Tensor]]:
    """PyTorch's names of a cell's weights, each with ours."""
    ours = {"ih": cell.W_xh, "hh": cell.W_hh, "hr": getattr(cell, "W_hr", None)}
    return [(f"weight_{name}", W) for name, W in ours.items() if W is not None]


def _cells(module: Module) -> Iterator[tuple[Any, str]]:
    """Every cell with the ending of PyTorch's names for its weights."""
    layer = module if isinstance(module, (RNN, LSTM, GRU)) else None
    for k, cell in enumerate(layer.cells() if layer else [module]):
        before = getattr(cell, "reset", "after") == "before"
        projected = getattr(cell, "W_hr", None) is not None and not layer
        if type(cell) not in (ElmanCell, LSTMCell, GRUCell) or before or projected:
            raise TypeError(
                f"PyTorch has no counterpart of this {type(module).__name__}; expected RNN, LSTM, "
                f"GRU, ElmanCell, LSTMCell or GRUCell, with reset='after' and a projection in "
                f"whole layers only"
            )
        if layer:
            depth, back = divmod(k, layer.directions)
            yield cell, f"_l{depth}{'_reverse' * back}"
        else:
            yield cell, ""
