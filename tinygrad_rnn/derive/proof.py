"""A program is tested before it is used: it is compared with `unroll` on random data."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..engine import Array, Tensor, operations
from ..engine.backprop import walk
from ..nn.unroll import unroll
from .record import DeriveError, Recorded, quiet, sample
from .rewrite import order

__all__ = ["prove"]

_SCALES = (1e-2, 1.0, 1e2)
_STEPS = 3


def prove(
    forward: Callable[..., Any], backward: Callable[..., Any], found: Recorded, xs: Array,
    targets: Array | None, masked: bool,
) -> None:  # fmt: skip
    """Compare values and all gradients over a few steps, at three sizes of inputs and state.

    Where the numbers overflow in `unroll` itself, nothing is compared.

    Raises
    ------
    DeriveError
        If they differ; it says in which value.
    """
    rng = np.random.default_rng(1)
    step = found.step
    batch = xs.shape[1]
    lengths = _STEPS - np.arange(batch) % _STEPS if batch > 1 else np.array([_STEPS - 1])
    running = np.arange(_STEPS)[:, None] < lengths
    single = np.float32 in {n.dtype.type for n in order(step.roots())}
    relative, absolute = (2e-3, 1e-6) if single else (1e-7, 1e-12)
    names = ["outputs", *(f"last {n.name}" for n in step.states)]
    names += [f"gradient of {n.name}" for n in (step.inputs[0], *step.states, *step.weights)]
    for scale in _SCALES:
        x = sample(xs, (_STEPS, *xs.shape[1:]), rng, scale)
        given = [] if targets is None else [sample(targets, (_STEPS, *targets.shape[1:]), rng)]
        masks = [*given, *[running[..., None]] * masked]
        if masked:
            past = running.reshape(running.shape + (1,) * (x.ndim - 2))
            x = np.where(past, x, x[:1])
        state = [sample(np.empty(0, n.dtype), n.shape, rng, scale) for n in step.states]
        with quiet():
            want, seeds = _unrolled(found, x, state, given, lengths if masked else None, rng)
            weights = [w.data for w in found.copies]
            outputs, finals, saved = forward(x, *masks, *state, *weights)
            d_x, *gradients = backward(saved, *seeds)
            if masked and d_x is not None:
                d_x = np.where(past, d_x, 0.0)
        got = [outputs, *finals, d_x, *gradients[len(masks) :]]
        finite = [np.abs(w).max(initial=0) for w in want if w is not None and np.isfinite(w).all()]
        for name, g, w in zip(names, got, want, strict=True):
            w, g = (np.zeros(()) if value is None else value for value in (w, g))
            largest = np.abs(w).max(initial=0)
            near = relative * largest + absolute * max(finite, default=0.0)
            if np.isfinite(w).all() and not np.all(np.abs(g - w) <= near):
                raise DeriveError(
                    f"the program of {type(found.surroundings.roots[0]).__name__} is not right: "
                    f"over {_STEPS} steps of random numbers of size {scale:g} its {name} differs "
                    f"from that of unroll by {np.abs(g - w).max():.3g} (largest entry "
                    f"{largest:.3g}). Python may branch on the data in the cell; run it with unroll"
                )


def _unrolled(
    found: Recorded, x: Array, state: list[Array], targets: list[Array], lengths: Any,
    rng: np.random.Generator,
) -> tuple[list[Any], list[Array]]:  # fmt: skip
    """What `unroll` makes of it: values and gradients, and the gradients that it started from."""
    cell, readout = found.surroundings.roots
    each_target = [iter(target) for target in targets]

    def step(x: Tensor, state: Any) -> tuple[Tensor, Any]:
        output, state = cell(x, state)
        if readout is not None:
            output = readout(output, *(Tensor(next(target)) for target in each_target))
        return output, state

    xs = Tensor(x, found.step.d_inputs[0] is not None)
    old = [Tensor(s, s.dtype.kind == "f") for s in state]
    first = tuple(old) if found.several else old[0]
    outputs, last = unroll(step, list(xs), first, lengths)
    ends = [operations["stack"](outputs), *(last if found.several else (last,))]
    seeds = [sample(end.data, end.shape, rng) for end in ends]
    leaves = [xs, *old, *found.copies]
    loss = sum(((end * seed).sum() for end, seed in zip(ends, seeds, strict=True)), Tensor(0.0))
    sent = walk(loss, np.ones((), loss.dtype)) if loss.requires_grad else ()
    gradients = {leaf.number: g for leaf, g in sent}
    return [*(end.data for end in ends), *(gradients.get(leaf.number) for leaf in leaves)], seeds
