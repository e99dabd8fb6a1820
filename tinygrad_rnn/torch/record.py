"""`mirror`: every ATen operation of a PyTorch forward pass, done again in our record.

A `TorchDispatchMode` stands below PyTorch's autograd, where ``nn.LSTM`` is a matrix product, four
slices and some sigmoids, and where every tensor is a place in a storage: an offset, a shape and
strides. So the mirror keeps, for each storage, which of our tensors stands at which place. A view
is one more place; an operation that writes makes a new tensor for its place, and what overlaps it
is put together again when it is next read. What PyTorch says needs no gradient is a constant.

Time is found when the block ends, in time.py. The operations themselves are in operations.py.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.autograd.graph import GradientEdge
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ..engine import Array, Scope, Tensor, scope
from ..engine.scope import collector_paused
from ..functions import backprop, concatenate
from ..functions.trace import tape
from .operations import CONSTANT, TABLE
from .time import find_time

__all__ = ["Mirror", "mirror"]

Place = tuple[int, tuple[int, ...], tuple[int, ...]]  # offset, shape and strides, in entries

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")
_FAR = 16  # how many of PyTorch's nodes lie between a view and what it is a view of, at most
_TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-4}


@dataclass(slots=True)
class _Storage:
    """Our tensors for the places of one storage; `written`, in order, is what `seen` comes from."""

    keep: Any  # alive: its address is our key
    size: int
    seen: dict[Place, Tensor] = field(default_factory=dict)
    written: dict[Place, Tensor] = field(default_factory=dict)

    def entries(self, place: Place) -> Array:
        """The numbers of the storage's entries that a place names, in its shape."""
        offset, shape, strides = place
        numbers = np.arange(offset, max(self.size, offset + 1))
        steps = tuple(n * numbers.itemsize for n in strides)
        return np.lib.stride_tricks.as_strided(numbers, shape, steps, writeable=False)

    @property
    def learns(self) -> bool:
        """Whether anything in it has a gradient."""
        return any(x.requires_grad for x in self.written.values())

    def write(self, place: Place, new: Tensor) -> None:
        """From now on `new` stands at a place, and whatever overlaps it is out of date."""
        touched = np.zeros(self.size, bool)
        touched[self.entries(place)] = True
        self.seen = {k: x for k, x in self.seen.items() if not touched[self.entries(k)].any()}
        self.written.pop(place, None)
        self.seen[place] = self.written[place] = new

    def read(self, place: Place) -> Tensor | None:
        """What stands at a place; None if some of it was never seen."""
        if place in self.seen:
            return self.seen[place]
        source = np.full(self.size, -1)
        starts, pieces = [0], list(self.written.items())
        for at, piece in pieces:
            source[self.entries(at)] = starts[-1] + np.arange(piece.size).reshape(piece.shape)
            starts.append(starts[-1] + piece.size)
        wanted = source[self.entries(place)]
        if (wanted < 0).any():
            return None
        used = np.unique(np.searchsorted(starts, wanted, side="right") - 1)
        parts = [pieces[k][1].reshape(-1) for k in used]
        flat = parts[0] if len(parts) == 1 else concatenate(parts)
        shift = np.zeros(len(pieces), int)
        shift[used] = np.cumsum([0, *(part.size for part in parts[:-1])])
        owner = np.searchsorted(starts, wanted, side="right") - 1
        wanted = wanted - np.array(starts)[owner] + shift[owner]
        whole = wanted.size == flat.size and (wanted.ravel() == np.arange(flat.size)).all()
        self.seen[place] = flat.reshape(wanted.shape) if whole else flat[wanted]
        return self.seen[place]


class Mirror(TorchDispatchMode):  # type: ignore[misc]
    """Our record of what a PyTorch model did; made by `mirror`.

    Attributes
    ----------
    parameters : dict from str to Tensor
        Our leaf for each of the model's parameters, by PyTorch's name.
    """

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.parameters: dict[str, Tensor] = {}
        self.modules: dict[Scope | None, Any] = {}
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._storages: dict[int, _Storage] = {}
        self._detached: dict[int, Tensor] = {}
        self._edges: dict[int, dict[Any, Any]] = {}  # where PyTorch has the gradient of our tensor
        self._offsets: dict[int, int] = {}
        self._inside = 0  # how many torch.autograd.Functions are running
        self._differs: tuple[Tensor, str] | None = None  # the first
        self._loss: Any = None
        for parameter in model.parameters():
            self[parameter]

    def loss(self, loss: Any) -> Tensor:
        """Our tensor for the model's loss: draw it, walk back from it. `check` goes by it.

        Parameters
        ----------
        loss : torch.Tensor
            Computed inside the block.

        Raises
        ------
        ValueError
            If it was not computed from the model inside the block.
        """
        found = self[loss]
        if found.primitive is None:
            raise ValueError(
                f"the mirror was given a tensor of shape {tuple(loss.shape)} that it has not seen "
                f"computed; compute it inside of `with mirror(model)`, with gradients enabled"
            )
        self._loss = loss
        return found

    def __getitem__(self, theirs: Any) -> Tensor:
        """Our tensor for any of PyTorch's; a leaf if it was not computed inside the block."""
        storage, place = self._place(theirs)
        constant = not theirs.requires_grad and not self._inside
        if constant and storage and place not in storage.seen and storage.learns:
            return Tensor(theirs.detach().numpy())  # a part of something, detached
        found = None if storage is None else storage.read(place)
        wants = theirs.requires_grad and theirs.is_leaf
        if found is None or (wants and not found.requires_grad):
            part = storage is not None or wants or theirs._base is None
            whole = theirs if part else theirs._base
            leaf = Tensor(
                whole.detach().numpy(),
                whole.requires_grad,
                name=self._names.get(id(whole)),
            )
            if leaf.name is not None:
                self.parameters[leaf.name] = leaf
            self._write(whole, leaf)
            return self[theirs]
        if found.requires_grad and constant:
            if found.number not in self._detached:
                self._detached[found.number] = found.detach()
            return self._detached[found.number]
        if theirs.requires_grad and not self._inside and storage and len(storage.written) == 1:
            self._note_edge(found, theirs)
        self._offsets.setdefault(found.number, theirs.storage_offset())
        return found

    def _note_edge(self, mine: Tensor, theirs: Any) -> None:
        """Note where PyTorch will have the gradient of a tensor, or a part of it.

        Of several views of one place each has a part; what is a view of another adds nothing.
        """
        edges = self._edges.setdefault(mine.number, {})
        edge = (theirs if theirs.is_leaf else theirs.grad_fn, theirs.output_nr)
        if edge not in edges:
            behind = [edge]
            for node, _ in behind if edges and not theirs.is_leaf else ():
                behind += [e for e in node.next_functions if e[0] is not None]
                if len(behind) > _FAR or any(e in edges for e in behind):
                    break
            again = any(e in edges for e in behind)
            edges[edge] = None if again else theirs if theirs.is_leaf else GradientEdge(*edge)

    def check(self) -> int:
        """Compare values and gradients with PyTorch's, back from the tensor last given to `loss`.

        Every operation's value was compared as it was computed. Here PyTorch's autograd is asked
        for the gradient of every intermediate tensor too: the first that differs, walking back, was
        made wrong by the rule of an operation that reads it, say a `torch.autograd.Function`.
        Call it before ``loss.backward()``, which frees PyTorch's own record.

        Returns
        -------
        int
            How many gradients were compared.

        Raises
        ------
        AssertionError
            If one differs: with the operation, its module and its step, and both sizes.
        """
        if self._loss is None:
            raise ValueError("check() compares what m.loss(loss) was asked for: ask first")
        if self._differs is not None:
            mine, how = self._differs
            raise AssertionError(f"{mine.describe()}, differs from PyTorch's {how}")
        trace = backprop(self[self._loss], np.ones(tuple(self._loss.shape)), keep="arrays")
        tensors = [x for x in trace.tensors[1:] if x.number in self._edges]
        edges = [[e for e in self._edges[x.number].values() if e is not None] for x in tensors]
        theirs = torch.autograd.grad(
            self._loss,
            [edge for parts in edges for edge in parts],
            torch.ones_like(self._loss),
            retain_graph=True,
            allow_unused=True,
        )
        each = iter(theirs)
        largest = max(np.abs(g.numpy()).max(initial=0.0) for g in theirs if g is not None)
        for x, parts in zip(tensors, edges, strict=True):
            gradients = [g.numpy() for _ in parts if (g := next(each)) is not None]
            expected = np.zeros(x.shape) + sum(gradients)
            found = trace.gradient(x)
            size, error = np.abs(expected).max(initial=0.0), np.abs(found - expected)
            if not error.max(initial=0.0) <= _TOLERANCE[x.dtype] * (size + largest / 100):
                readers = {event.tensor.number: event.tensor for event in trace.events_of(x)}
                raise AssertionError(
                    f"PyTorch's gradient of {x.describe()}, is not the derivative of what was "
                    f"computed: its largest entry is {size:.6g}, not {np.abs(found).max():.6g}, "
                    f"and off by up to {error.max():.3g}; it comes from "
                    f"{' and '.join(reader.describe() for reader in readers.values())}"
                )
        return len(tensors)

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        """Called by PyTorch for every operation: run it, and record it if a gradient passes."""
        kwargs = kwargs or {}
        schema = func._schema
        given = {a.name: x for a, x in zip(schema.arguments, args, strict=False)} | kwargs
        written = [
            given[a.name] for a in schema.arguments
            if a.alias_info is not None and a.alias_info.is_write and a.name in given
        ]  # fmt: skip
        tensors = [x for x in tree_leaves((args, kwargs)) if isinstance(x, torch.Tensor)]
        name = schema.name.removeprefix("aten::")
        name = name.rstrip("_") if written else name
        passes = (torch.is_grad_enabled() or self._inside) and any(map(self._needs, tensors))
        if name in CONSTANT or not passes:
            out = func(*args, **kwargs)
            for theirs in tree_leaves(written):
                self._overwrite(theirs)
            return out
        early = not written and torch.Tag.nondeterministic_seeded not in func.tags
        if early:
            out = func(*args, **kwargs)
            results = [x for x in _listed(out) if isinstance(x, torch.Tensor)]
            if not any(x.is_floating_point() for x in results):
                return out
            view = any(a.alias_info for a in schema.returns)
            if view and self._stands(results, tensors[0], name in TABLE):
                return out  # it is read from its place in the storage
        if name in TABLE:
            inputs = {k: x for k, x in kwargs.items() if not any(x is w for w in written)}
            ours = tree_map_only(torch.Tensor, self.__getitem__, (args, inputs))
            made = TABLE[name](*ours[0], **ours[1])
        else:
            made = self._decomposed(func, name, args, kwargs, written)
        if not early:
            out = func(*args, **kwargs)
        written_to = bool(written) and torch.Tag.inplace_view not in func.tags
        for theirs, mine in zip(_listed(out), _listed(made), strict=False):
            if mine is not None and mine.requires_grad:
                self._record(name, theirs, mine, written_to)
        return out

    def _record(self, name: str, theirs: Any, mine: Tensor, written: bool) -> None:
        """Compare a result with PyTorch's, and keep it at its place."""
        expected = theirs.detach().numpy()
        if mine.shape != expected.shape:
            if name not in TABLE:  # what only its fused backward needs, such as a logsumexp
                return
            raise ValueError(
                f"the entry TABLE[{name!r}] returned {mine.describe()}; PyTorch's has shape "
                f"{expected.shape}"
            )
        if mine.dtype != expected.dtype:
            mine = mine.astype(expected.dtype)
        if self._differs is None:
            with np.errstate(invalid="ignore"):
                error = np.abs(mine.data - expected).max(initial=0.0, where=mine.data != expected)
            size = np.abs(expected).max(initial=1.0, where=np.isfinite(expected))
            if not error <= _TOLERANCE[expected.dtype] * size:
                self._differs = mine, f"{name} by {error:.3g}, its largest entry being {size:.3g}"
        storage, place = self._place(theirs)
        if written or storage is None:
            if storage is not None and theirs._is_view() and place in storage.seen:
                self._edges.pop(storage.seen[place].number, None)  # PyTorch has rebuilt its node
            self._write(theirs, mine)
        else:
            storage.seen[place] = mine
        self._offsets.setdefault(mine.number, theirs.storage_offset())

    def _stands(self, views: list[Any], of: Any, listed: bool) -> bool:
        """Whether views are read from their storage: an operation would show nothing more."""
        places = [self._place(view) for view in views]
        if not listed:  # any way to stride over a storage
            return all(storage is not None for storage, _ in places)
        storage, place = self._place(of)
        if [at for _, at in places] == [place]:
            self[of]
            return True
        return storage is not None and all(at in storage.written for _, at in places)

    def _decomposed(
        self, func: Any, name: str, args: Any, kwargs: Any, written: list[Any]
    ) -> list[Any]:
        """What an operation makes that is not in the table, decomposed as by PyTorch itself.

        The parts run beside the operation, on copies of what it writes to: what PyTorch goes on
        with, forward and backward, is its own.
        """
        packet = getattr(torch.ops.aten, name, None)
        plain = getattr(packet, func._overloadname, None) or getattr(packet, "default", None)
        rule = func.decompose if func._can_decompose() else decomposition_table.get(plain)
        rule = rule or decomposition_table.get(func)
        if rule is None:
            raise NotImplementedError(self._missing(name, args))
        self._inside += 1
        try:
            with self:
                changed = {id(x): x.clone() for x in written if x is not None}
                args, kwargs = tree_map_only(
                    torch.Tensor, lambda x: changed.get(id(x), x), (args, kwargs)
                )
                found = rule(*args, **kwargs)
            return [self[x] if isinstance(x, torch.Tensor) else None for x in _listed(found)]
        finally:
            self._inside -= 1

    def _missing(self, name: str, args: Any) -> str:
        tensors = [x for x in tree_leaves(args) if isinstance(x, torch.Tensor)]
        shapes = " and ".join(str(tuple(x.shape)) for x in tensors)
        with scope("") as here:
            place = here.parent.path if here.parent else "the loss"
        frame: Any = sys._getframe(2)
        while frame.f_back is not None and frame.f_code.co_filename.startswith(_OURS):
            frame = frame.f_back
        line = f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
        return (
            f"in {place}: the mirror has no entry for PyTorch's {name} of {shapes}, called at "
            f"{line}; add one that says what it is in our operations: "
            f"tinygrad_rnn.torch.TABLE[{name!r}] = lambda x, ...: ..."
        )

    def _needs(self, theirs: Any) -> bool:
        """Whether a gradient passes through it."""
        if theirs.requires_grad or not self._inside:
            return bool(theirs.requires_grad)
        storage, place = self._place(theirs)
        found = None if storage is None else storage.read(place)
        return found is not None and found.requires_grad

    def _place(self, theirs: Any) -> tuple[_Storage | None, Place]:
        place = (theirs.storage_offset(), tuple(theirs.shape), tuple(theirs.stride()))
        return self._storages.get(theirs.untyped_storage()._cdata), place

    def _write(self, theirs: Any, mine: Tensor) -> None:
        storage, place = self._place(theirs)
        if storage is None:
            keep = theirs.untyped_storage()
            storage = _Storage(keep, keep.nbytes() // theirs.element_size())
            self._storages[keep._cdata] = storage
        storage.write(place, mine)

    def _overwrite(self, theirs: Any) -> None:
        """PyTorch wrote numbers that carry no gradient into a tensor."""
        storage, place = self._place(theirs)
        if storage is None:
            return
        if all(x.primitive is None for x in storage.written.values()):  # say, a weight was updated
            del self._storages[theirs.untyped_storage()._cdata]
            return
        old, new = storage.read(place), theirs.detach().numpy()
        if torch.is_grad_enabled() or old is None or not theirs.requires_grad:
            self._write(theirs, Tensor(new))
        elif (old.data != new).any():  # without gradients the values change, not their history
            self._write(theirs, old + (new - old.data))

    def _apply(self, apply: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a `torch.autograd.Function` in a scope of its name, looking into its forward."""
        for theirs in tree_leaves((args, kwargs)):
            if isinstance(theirs, torch.Tensor) and theirs.requires_grad:
                self[theirs]
        before = Tensor(0.0).number
        with scope(function.__name__):
            self._inside += 1
            try:
                out = apply(function, *args, **kwargs)
            finally:
                self._inside -= 1
            for theirs in _listed(out):
                if not isinstance(theirs, torch.Tensor) or not theirs.requires_grad:
                    continue
                storage, place = self._place(theirs)
                mine = None if storage is None else storage.read(place)
                if storage is None or mine is None or not mine.requires_grad:
                    raise NotImplementedError(
                        f"{function.__name__}, a torch.autograd.Function, computes its output of "
                        f"shape {tuple(theirs.shape)} where the mirror cannot see it, outside of "
                        f"PyTorch; write its forward with PyTorch's operations"
                    )
                if mine.number < before:  # an identity, with a derivative of its own
                    storage.seen[place] = mine.reshape(mine.shape)
        return out


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


@contextmanager
def mirror(model: Any) -> Iterator[Mirror]:
    """Mirror what a PyTorch model computes inside a ``with`` block into our record.

    Parameters
    ----------
    model : torch.nn.Module
        On the CPU, in float64 or float32. Its own code runs, unchanged.

    Yields
    ------
    Mirror
        ``m.loss(loss)`` is our tensor for a loss: draw it, ask `backprop` and `influence`;
        ``m[tensor]`` is ours for any other; ``m.parameters`` has our leaf for each parameter;
        ``m.check()`` compares every gradient with PyTorch's.

    Raises
    ------
    NotImplementedError
        If an operation is neither in the table nor decomposed by PyTorch: with its module, shapes,
        the line of your code, and how to add it.

    Notes
    -----
    Each operation stands in the scope of the module that ran it. The n-th use of a recurrent weight
    is step n of the module whose forward (or whose caller) runs the loop; mark steps yourself with
    ``with tr.step(t)`` in the loop, and these are taken instead.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> torch = __import__("pytest").importorskip("torch")
    >>> from tinygrad_rnn.torch import mirror
    >>> model = torch.nn.RNN(2, 3)
    >>> with mirror(model) as m:
    ...     loss = model(torch.ones(4, 1, 2))[0].sum()
    >>> trace = tr.backprop(m.loss(loss), keep="arrays")
    >>> trace.steps, trace.by_step(m.parameters["weight_hh_l0"]).shape
    ([0, 1, 2, 3], (4, 3, 3))
    """
    m = Mirror(model)
    apply = torch.autograd.Function.apply.__func__
    open_scopes: list[Scope] = []

    def enter(module: Any, _: Any, path: str) -> None:
        above = m.modules.get(open_scopes[-1]) if open_scopes else None
        outer = paths.get(above, "")
        name = path.removeprefix(f"{outer}.") if outer else path
        here = scope(name or type(module).__name__)
        m.modules[here] = module
        open_scopes.append(here.__enter__())

    def leave(*_: Any) -> None:
        open_scopes.pop().__exit__()

    paths = {module: path for path, module in model.named_modules()}
    with ExitStack() as stack, collector_paused():
        for module, path in paths.items():
            before = module.register_forward_pre_hook(
                lambda module, args, path=path: enter(module, args, path)
            )
            after = module.register_forward_hook(leave, always_call=True)
            stack.callback(before.remove)
            stack.callback(after.remove)
        stack.callback(setattr, torch.autograd.Function, "apply", classmethod(apply))
        torch.autograd.Function.apply = classmethod(
            lambda function, *args, **kwargs: m._apply(apply, function, *args, **kwargs)
        )
        # Not through torch.backends: its flags may be frozen, and their context warns of others.
        stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
        torch._C._set_mkldnn_enabled(False)
        stack.enter_context(m)
        yield m
    known = [x for storage in m._storages.values() for x in storage.seen.values()]
    find_time(
        tape(*known)[::-1],
        {p.number: name for name, p in m.parameters.items()},
        {**m.modules, None: model},
        {x.number: number for number, x in m._detached.items()},
        m._offsets,
    )
