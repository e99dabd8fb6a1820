"""Optimisers: each reads its parameters' gradients and rebinds their data.

The update rules are PyTorch's. Parameters without a gradient are left alone.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from ..engine import Array, Tensor

State = dict[str, Array]  # what is kept for one parameter

__all__ = ["SGD", "Adagrad", "Adam", "AdamW", "Optimiser", "RMSprop"]


@dataclass(eq=False, repr=False)
class Optimiser:
    """What all optimisers share; a rule of your own is an `update` method.

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float
        The learning rate; may be changed between steps.

    Attributes
    ----------
    state : list of dicts of ndarrays
        What is kept for each parameter; first the number of its steps.

    Raises
    ------
    ValueError
        If there are no parameters.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> class SignDescent(tr.train.Optimiser):
    ...     def update(self, p, g, steps, state):
    ...         return p - self.lr * np.sign(g)
    >>> w = tr.Tensor([3.0, -4.0], requires_grad=True)
    >>> optimiser = SignDescent([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimiser.step()
    >>> w.data
    array([ 2.5, -3.5])
    """

    parameters: Iterable[Tensor]
    lr: float
    slots: ClassVar[tuple[str, ...]] = ()  # arrays kept for each parameter, zero at first

    def __post_init__(self) -> None:
        self.parameters = list(self.parameters)
        if not self.parameters:
            raise ValueError(
                f"{type(self).__name__} was given no parameters; pass module.parameters()"
            )
        # In C order whatever the parameter's, so that a rule may write through a flat view.
        self.state: list[State] = [
            {"steps": np.zeros((), np.int64)}
            | {slot: np.zeros(p.shape, p.dtype) for slot in self.slots}
            for p in self.parameters
        ]

    def zero_grad(self) -> None:
        """Forget the gradients of the last backward pass."""
        for p in self.parameters:
            p.grad = None

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for p, state in zip(self.parameters, self.state, strict=True):
            if p.grad is not None:
                state["steps"] += 1
                p.data = self.update(p.data, p.grad, int(state["steps"]), state)

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        """A parameter's new value; `state` is changed in place. Each optimiser's own rule."""
        raise NotImplementedError


@dataclass(eq=False, repr=False)
class SGD(Optimiser):
    """Gradient descent: ``p ← p − lr · grad``, with momentum if asked.

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float
    momentum : float, default 0
    nesterov : bool, default False
        Look ahead along the momentum (Sutskever et al. 2013).
    weight_decay : float, default 0
        Added to the gradient times the parameter.

    Raises
    ------
    ValueError
        If there are no parameters, or ``nesterov`` is asked for without momentum.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor(1.0, requires_grad=True)
    >>> optimiser = tr.train.SGD([w], lr=0.25)
    >>> (w * w).backward()
    >>> optimiser.step()
    >>> w.data
    array(0.5)
    """

    slots = ("velocity",)

    momentum: float = 0.0
    nesterov: bool = False
    weight_decay: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.nesterov and not self.momentum:
            raise ValueError("nesterov=True looks ahead along the momentum; give momentum > 0")

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        if self.weight_decay:
            g = g + self.weight_decay * p
        if self.momentum:
            v = state["velocity"]
            v *= self.momentum
            v += g
            g = g + self.momentum * v if self.nesterov else v
        return p - self.lr * g


@dataclass(eq=False, repr=False)
class Adam(Optimiser):
    """Adam (Kingma and Ba 2015).

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float, default 0.001
    betas : pair of floats, default (0.9, 0.999)
        The decay rates of the running means of the gradient and of its square.
    eps : float, default 1e-8

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0], requires_grad=True)
    >>> optimiser = tr.train.Adam([w], lr=0.5)
    >>> (w * w).sum().backward()
    >>> optimiser.step()
    >>> w.data.round(6)
    array([2.5])
    """

    slots = ("mean", "square")

    lr: float = 0.001
    betas: tuple[float, float] = (0.9, 0.999)
    eps: float = 1e-8

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        beta1, beta2 = self.betas
        m, v = state["mean"], state["square"]
        m *= beta1
        m += (1 - beta1) * g
        v *= beta2
        v += (1 - beta2) * g * g
        # Both began at zero; the corrections make up for what they have not seen yet.
        size: float = self.lr / (1 - beta1**steps)
        root: float = (1 - beta2**steps) ** 0.5
        return p - size * m / (np.sqrt(v) / root + self.eps)


@dataclass(eq=False, repr=False)
class AdamW(Adam):
    """Adam with weight decay decoupled from the gradient (Loshchilov and Hutter 2019).

    Parameters
    ----------
    parameters, lr, betas, eps
        As for `Adam`.
    weight_decay : float, default 0.01

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0], requires_grad=True)
    >>> optimiser = tr.train.AdamW([w], lr=0.5, weight_decay=0.1)
    >>> (w * w).sum().backward()
    >>> optimiser.step()
    >>> w.data.round(6)
    array([2.35])
    """

    weight_decay: float = 0.01

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        return super().update(p * (1 - self.lr * self.weight_decay), g, steps, state)


@dataclass(eq=False, repr=False)
class RMSprop(Optimiser):
    """The gradient divided by the root of its running mean square (Tieleman and Hinton 2012).

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float, default 0.01
    alpha : float, default 0.99
        The decay rate of the mean.
    eps : float, default 1e-8
    momentum : float, default 0

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0], requires_grad=True)
    >>> optimiser = tr.train.RMSprop([w], lr=0.1)
    >>> (w * w).sum().backward()
    >>> optimiser.step()
    >>> w.data.round(6)
    array([2.])
    """

    slots = ("square", "velocity")

    lr: float = 0.01
    alpha: float = 0.99
    eps: float = 1e-8
    momentum: float = 0.0

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        v = state["square"]
        v *= self.alpha
        v += (1 - self.alpha) * g * g
        change = g / (np.sqrt(v) + self.eps)
        if self.momentum:
            state["velocity"] *= self.momentum
            state["velocity"] += change
            change = state["velocity"]
        return p - self.lr * change


@dataclass(eq=False, repr=False)
class Adagrad(Optimiser):
    """The gradient divided by the root of the sum of its squares (Duchi, Hazan and Singer 2011).

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float, default 0.01
    eps : float, default 1e-10

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([3.0], requires_grad=True)
    >>> optimiser = tr.train.Adagrad([w], lr=1.0)
    >>> (w * w).sum().backward()
    >>> optimiser.step()
    >>> w.data.round(6)
    array([2.])
    """

    slots = ("square",)

    lr: float = 0.01
    eps: float = 1e-10

    def update(self, p: Array, g: Array, steps: int, state: State) -> Array:
        state["square"] += g * g
        return p - self.lr * g / (np.sqrt(state["square"]) + self.eps)
