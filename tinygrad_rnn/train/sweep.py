"""Many independent runs, and one batch in parts, over any executor of ``concurrent.futures``.

The executor does the scheduling: processes, threads, or a cluster through ``dask.distributed``
(``client.get_executor()``). This module prepares the calls and combines the results.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

from ..engine import Array, Tensor
from ..functions import grad
from ..functions.trace import tape
from ..nn import Module

__all__ = ["Failure", "sharded_gradients", "sweep"]


@dataclass(frozen=True)
class Failure:
    """A run that raised: its configuration and the error.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> [failure] = tr.train.sweep(lambda lr: 1 / lr, [0.0], progress=False)
    >>> failure.configuration, failure.error
    (0.0, ZeroDivisionError('float division by zero'))
    """

    configuration: Any
    error: BaseException


def sweep(
    f: Callable[[Any], Any],
    configurations: Iterable[Any],
    executor: Executor | None = None,
    progress: bool = True,
) -> list[Any]:
    """``[f(c) for c in configurations]`` over an executor; a failed run does not lose the others.

    Parameters
    ----------
    f : callable
        Takes one configuration. For processes and clusters it must be a function of a module.
    configurations : iterable
    executor : concurrent.futures.Executor, optional
        By default the runs are made in this process, one after the other.
    progress : bool, default True
        Count finished runs on standard error.

    Returns
    -------
    list
        In the order of the configurations; a `Failure` where a run raised.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.train.sweep(lambda lr: 1 / lr, [0.5, 0.0, 0.25], progress=False)
    [2.0, Failure(configuration=0.0, error=ZeroDivisionError('float division by zero')), 4.0]
    """
    configurations = list(configurations)
    waiting = [executor.submit(f, c) if executor else c for c in configurations]
    results: list[Any] = []
    for done, (c, run) in enumerate(zip(configurations, waiting, strict=True), 1):
        try:
            results.append(run.result() if isinstance(run, Future) or executor else f(c))
        except Exception as error:
            results.append(Failure(c, error))
        if progress:
            end = "\n" if done == len(configurations) else ""
            print(f"\r{done} of {len(configurations)} runs", end=end, file=sys.stderr, flush=True)
    return results


def sharded_gradients(
    loss: Callable[[Module, Any], Tensor],
    module: Module,
    shards: Sequence[Any],
    executor: Executor | None = None,
) -> dict[str, Array]:
    """The gradients of ``sum(loss(module, shard) for shard in shards)``, a shard at a time.

    Parameters
    ----------
    loss : callable
        ``loss(module, shard)``, summed (not averaged) over what is in the shard.
    module : Module
    shards : sequence
        Parts of one batch.
    executor : concurrent.futures.Executor, optional

    Returns
    -------
    dict
        By parameter path. Nothing is written into the parameters' ``grad``.

    Raises
    ------
    RuntimeError
        Naming the first shard that failed.

    Examples
    --------
    >>> import numpy as np
    >>> import tinygrad_rnn as tr
    >>> layer = tr.nn.Linear(2, 1, rng=0)
    >>> g = tr.train.sharded_gradients(
    ...     lambda m, x: m(x).sum(), layer, [np.ones((3, 2)), np.ones((1, 2))]
    ... )
    >>> g["b"]
    array([4.])
    """
    parts = sweep(_gradients, [(loss, module, shard) for shard in shards], executor, False)
    for k, part in enumerate(parts):
        if isinstance(part, Failure):
            raise RuntimeError(f"the gradient of shard {k} failed") from part.error
    return {name: sum(part[name] for part in parts) for name in module.named_parameters()}


def _gradients(task: tuple[Any, Module, Any]) -> dict[str, Array]:
    """Of one shard. With `grad`, not `backward`: threads share the parameters' ``.grad``."""
    loss, module, shard = task
    parameters = module.named_parameters()
    y = loss(module, shard)
    reached = set(tape(y)) & set(parameters.values())
    found = dict(zip(reached, grad(y, tuple(reached)), strict=True))
    return {n: found[p].data if p in found else p.data * 0 for n, p in parameters.items()}
