"""Optimisers: each reads its parameters' gradients and rebinds their data.

Parameters without a gradient are left alone, as in PyTorch, whose update rules these are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from ..engine import Array, Tensor

__all__ = ["SGD", "Adam"]


class _Optimiser:
    def __init__(self, parameters: Iterable[Tensor], lr: float) -> None:
        self.parameters: Sequence[Tensor] = list(parameters)
        if not self.parameters:
            raise ValueError(
                f"{type(self).__name__} was given no parameters; pass module.parameters()"
            )
        self.lr = lr

    def zero_grad(self) -> None:
        """Forget the gradients of the last backward pass."""
        for p in self.parameters:
            p.grad = None


class SGD(_Optimiser):
    """Gradient descent: ``p ← p − lr · grad``.

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float
        The learning rate.

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

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        for p in self.parameters:
            if p.grad is not None:
                p.data = p.data - self.lr * p.grad


class Adam(_Optimiser):
    """Adam (Kingma and Ba 2015).

    Parameters
    ----------
    parameters : iterable of Tensors
    lr : float, default 0.001
    betas : pair of floats, default (0.9, 0.999)
        How slowly the running means of the gradient and of its square forget.
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

    def __init__(
        self,
        parameters: Iterable[Tensor],
        lr: float = 0.001,
        betas: tuple[float, float] = (0.9, 0.999),
        eps: float = 1e-8,
    ) -> None:
        super().__init__(parameters, lr)
        self.betas = betas
        self.eps = eps
        self.steps = 0
        self.means: list[Array] = [np.zeros_like(p.data) for p in self.parameters]
        self.squares: list[Array] = [np.zeros_like(p.data) for p in self.parameters]

    def step(self) -> None:
        """Move every parameter that has a gradient."""
        self.steps += 1
        beta1, beta2 = self.betas
        size = self.lr / (1 - beta1**self.steps)
        root = (1 - beta2**self.steps) ** 0.5
        for p, m, v in zip(self.parameters, self.means, self.squares, strict=True):
            g = p.grad
            if g is None:
                continue
            m += (1 - beta1) * (g - m)
            v *= beta2
            v += (1 - beta2) * g * g
            p.data = p.data - size * m / (np.sqrt(v) / root + self.eps)
