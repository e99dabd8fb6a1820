"""Where and how recording happens: scopes, time steps, and the switches of one thread.

A scope says *where* in a net a tensor was made, such as ``encoder / t=3 / forget gate``. Every
tensor points to the scope that was open when it was recorded; pictures, error messages, NaN
reports and gradient checks read the place and the time step from there. What is recorded, and
how, lives in tensor.py; nothing here knows about tensors.
"""

from __future__ import annotations

import gc
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["Scope", "no_grad", "scope", "step"]


class _Recording(threading.local):
    """The recording state of one thread; class attributes are its initial values."""

    enabled: bool = True
    scope: Scope | None = None
    watcher: Any = None  # sees what is recorded and walked: a `detect_anomaly` block, a derivation


recording = _Recording()


class Scope:
    """One open ``with`` block: a name or a time step, and the scope around it.

    The context manager is itself the object that tensors point to, so a block of a thousand
    operations costs one object. Made by `scope` and `step`.

    Attributes
    ----------
    name : str
        The name given, or ``"t=3"`` for a step.
    t : int or None
        The time step, for a scope made by `step`.
    step : int or None
        The innermost time step here or further out.
    parent : Scope or None
        The scope around this one.
    owner : object
        What the block runs, for instance the cell that `tinygrad_rnn.nn.unroll` steps.
    state_in, state_out : tuple of int, or None
        On a step that `unroll` runs: the numbers (`Tensor.number`) of the state it starts from and
        of the state it ends with. Numbers, so that nothing is kept alive.
    input, output : int or None
        The numbers of the step's input and output.
    walked : bool
        On a sequence that `unroll` ran: whether a `backward` has been through it.

    Raises
    ------
    RuntimeError
        If a scope is entered twice.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> with tr.scope("encoder"), tr.step(3) as inner:
    ...     pass
    >>> inner.path, inner.step, inner.parent.name
    ('encoder / t=3', 3, 'encoder')
    """

    parent: Scope | None = None
    state_in: tuple[int, ...] | None = None
    state_out: tuple[int, ...] | None = None
    input: int | None = None
    output: int | None = None
    walked = False
    _entered = False

    def __init__(self, name: str, t: int | None = None, owner: Any = None) -> None:
        self.name = name
        self.t = t
        self.step = t
        self.owner = owner

    def __enter__(self) -> Scope:
        if self._entered:
            raise RuntimeError(
                f"scope {self.name!r} was entered twice; a scope marks one block: make a new one"
            )
        self._entered = True
        self.parent = parent = recording.scope
        if self.t is None and parent is not None:
            self.step = parent.step
        recording.scope = self
        return self

    def __exit__(self, *_: object) -> None:
        # A generator may close its scope after the block around it has ended: by then the scope is
        # not open any more, and must not bring the one around it back.
        if recording.scope is self or (recording.scope and self in recording.scope.chain()):
            recording.scope = self.parent

    @property
    def stateful(self) -> Scope | None:
        """The innermost scope, here or further out, that knows its state: a step of `unroll`."""
        scope: Scope | None = self
        while scope is not None and scope.state_in is None:
            scope = scope.parent
        return scope

    @property
    def sequence(self) -> Any:
        """What the innermost stateful step belongs to, one scope for each `unroll`; or None."""
        step = self.stateful
        return step.parent if step and step.t is not None and step.parent else step

    def chain(self) -> list[Scope]:
        """Every scope from the outermost to this one."""
        return [self] if self.parent is None else [*self.parent.chain(), self]

    @property
    def path(self) -> str:
        """Such as ``encoder / t=3 / forget gate``."""
        return " / ".join(scope.name for scope in self.chain())

    def __repr__(self) -> str:
        return f"<scope {self.path}>"


def scope(name: str, owner: Any = None) -> Scope:
    """Mark what is recorded inside a ``with`` block by a name.

    Parameters
    ----------
    name : str
        Shown in pictures, errors and reports.
    owner : object, optional
        What the block runs; kept as `Scope.owner`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([1.0], requires_grad=True)
    >>> with tr.scope("encoder"), tr.step(3):
    ...     y = tr.tanh(x)
    >>> y.scope.path
    'encoder / t=3'
    """
    return Scope(name, owner=owner)


def step(t: int) -> Scope:
    """Mark what is recorded inside a ``with`` block as time step `t`.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> x = tr.Tensor([1.0], requires_grad=True)
    >>> with tr.step(2):
    ...     y = x * x
    >>> y.scope.step
    2
    """
    return Scope(f"t={t}", t=t)


@contextmanager
def no_grad() -> Iterator[None]:
    """Record nothing inside a ``with`` block; results are constants. Other threads do not notice.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> w = tr.Tensor([1.0, 2.0], requires_grad=True)
    >>> with tr.no_grad():
    ...     y = w * w
    >>> y.requires_grad
    False
    """
    before, recording.enabled = recording.enabled, False
    try:
        yield
    finally:
        recording.enabled = before


@contextmanager
def collector_paused() -> Iterator[None]:
    """Keep the cycle collector from running inside a ``with`` block that records a long graph.

    A record has no cycles, but it grows, and the collector would scan all of it again and again.
    Afterwards everything is as before: what the block made is young, and collected like the rest.

    Examples
    --------
    >>> import gc
    >>> from tinygrad_rnn.engine.scope import collector_paused
    >>> with collector_paused():
    ...     gc.isenabled()
    False
    >>> gc.isenabled()
    True
    """
    enabled = gc.isenabled()  # the host program may have its own way
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
