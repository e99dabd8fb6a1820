"""`mirror`: every ATen operation of a PyTorch forward pass, done again in our record.

A `TorchDispatchMode` stands below PyTorch's autograd, where ``nn.LSTM`` is a matrix product, four
slices and some sigmoids. Each operation is looked up in the table of operations.py, or decomposed
as PyTorch does; storage.py knows which of our tensors stands where in PyTorch's storages; time.py
finds time when the block ends. What PyTorch says needs no gradient is a constant.
"""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch._decomp import decomposition_table
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves, tree_map_only

from ..engine import Array, Scope, Tensor, scope
from ..engine.scope import collector_paused
from ..functions import backprop
from ..functions.trace import tape
from .operations import CONSTANT, TABLE
from .storage import Storage
from .time import find_time

__all__ = ["Mirror", "mirror"]

_OURS = (str(Path(torch.__file__).parent), str(Path(__file__).parents[1]), "<")
_TOLERANCE = {np.dtype(np.float64): 1e-10, np.dtype(np.float32): 1e-4}


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
        self.modules: dict[Scope | None, Any] = {None: model}
        self.detached: dict[int, int] = {}  # the numbers of constants, and of what they were
        self.offsets: dict[int, int] = {}  # where a tensor begins in PyTorch's storage
        self._names = {id(p): name for name, p in model.named_parameters()}
        self._storages: dict[int, Storage] = {}
        self._read: dict[Any, tuple[Any, Tensor, Any]] = {}  # PyTorch's tensor, ours, as of when
        self._compared: dict[
            int, Any
        ] = {}  # PyTorch's tensor for one of ours, whose gradient is its
        self._inside = 0  # how many torch.autograd.Functions and decompositions are running
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
        flows = theirs.requires_grad or self._inside > 0
        known = self._read.get(self._place(theirs, flows))
        if known is not None and known[2] == self._as_of(theirs):
            return known[1]
        storage, mine = self._storage(theirs), self._stands(theirs)
        unseen = mine is None and (theirs.requires_grad or (flows and storage is not None))
        leaf = theirs.requires_grad and theirs.is_leaf
        if unseen or (leaf and mine is not None and (mine.primitive or not mine.requires_grad)):
            whole = theirs if leaf or theirs._base is None else theirs._base
            learns = whole.requires_grad and (leaf or storage is None)
            mine = Tensor(_array(whole), learns, name=self._names.get(id(whole)))
            if mine.name is not None:
                self.parameters[mine.name] = mine
            self._compared[mine.number] = whole
            self._write(whole, mine, everywhere=leaf)
            return self[theirs]
        if mine is None:
            mine = Tensor(_array(theirs))
        elif mine.requires_grad and not flows:
            mine, original = mine.detach(), mine
            self.detached[mine.number] = original.number
        self._know(theirs, mine)
        return mine

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
        candidates = {x.number: x for x in [*trace.tensors[1:], *self.parameters.values()]}
        pairs = {
            number: (mine, theirs)
            for number, mine in candidates.items()
            if (theirs := self._compared.get(number)) is not None
            and theirs.requires_grad
            and self._stands(theirs) is mine  # not written over since
        }
        gradients = torch.autograd.grad(
            self._loss,
            [theirs for _, theirs in pairs.values()],
            torch.ones_like(self._loss),
            retain_graph=True,
            allow_unused=True,
            materialize_grads=True,
        )
        largest = max((g.abs().max().item() for g in gradients if g.numel()), default=0.0)
        for (mine, _), gradient in zip(pairs.values(), gradients, strict=True):
            expected = gradient.numpy()
            found = np.zeros(mine.shape) if trace.norm(mine) is None else trace.gradient(mine)
            size, error = np.abs(expected).max(initial=0.0), np.abs(found - expected)
            if not error.max(initial=0.0) <= _TOLERANCE[mine.dtype] * (size + largest / 100):
                readers, blamed = [mine], dict[str, None]()
                for x in readers:  # grows: on to what PyTorch has a gradient of too
                    for event in trace.events_of(x):
                        if self._compared.get(event.tensor.number) is not None:
                            blamed[event.tensor.describe()] = None
                        else:
                            readers.append(event.tensor)
                raise AssertionError(
                    f"PyTorch's gradient of {mine.describe()}, is not the derivative of what was "
                    f"computed: its largest entry is {size:.6g}, not {np.abs(found).max():.6g}, "
                    f"and off by up to {error.max():.3g}; it comes from "
                    f"{' and '.join(blamed) or 'the loss'}"
                )
        return len(pairs)

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
        name = schema.name.removeprefix("aten::").removeprefix("prims::")
        name = name.rstrip("_") if written else name
        tensors = _tensors((args, kwargs))
        passes = (torch.is_grad_enabled() or self._inside) and any(
            x.requires_grad or (self._inside and self[x].requires_grad) for x in tensors
        )
        instead = torch.Tag.inplace_view in func.tags or not written  # nothing is written over
        out = func(*args, **kwargs) if instead or not passes or name in CONSTANT else None
        if name in CONSTANT or not passes:
            for theirs in tree_leaves(written):
                self._overwrite(theirs)
            return out
        if instead:
            storages = {x.untyped_storage()._cdata for x in tensors}
            if any(x.untyped_storage()._cdata in storages for x in _tensors(out)):
                self._view(tensors, out)
                return out
            if not any(x.is_floating_point() for x in _tensors(out)):
                return out
        if name in TABLE:
            inputs = {k: x for k, x in kwargs.items() if not any(x is w for w in written)}
            ours, named = tree_map_only(torch.Tensor, self.__getitem__, (args, inputs))
            made = TABLE[name](*ours, **named)
        else:
            made = self._decomposed(func, name, args, kwargs, written)
        out = out if instead else func(*args, **kwargs)
        for theirs, mine in zip(_listed(out), _listed(made), strict=False):
            if mine is not None and mine.requires_grad:
                self._record(name, theirs, mine)
        return out

    def _view(self, args: list[Any], out: Any) -> None:
        """A view is read from its place in a storage; that is put now what stands there now."""
        for theirs in args:
            if theirs.requires_grad and self._storage(theirs) is None:
                self[theirs]
        for theirs in _tensors(out):
            mine = self._stands(theirs)
            if mine is not None and mine.requires_grad:
                self._know(theirs, mine)

    def _record(self, name: str, theirs: Any, mine: Tensor) -> None:
        """Compare a result with PyTorch's, and keep it at its place."""
        expected = _array(theirs)
        if mine.shape != expected.shape:
            if name not in TABLE:  # what only its fused backward needs, such as a logsumexp
                return
            raise ValueError(
                f"the entry TABLE[{name!r}] returned {mine.describe()}; PyTorch's has shape "
                f"{expected.shape}"
            )
        mine = mine if mine.dtype == expected.dtype else mine.astype(expected.dtype)
        if self._differs is None:
            with np.errstate(invalid="ignore"):
                error = np.abs(mine.data - expected).max(initial=0.0, where=mine.data != expected)
            size = np.abs(expected).max(initial=1.0, where=np.isfinite(expected))
            if not error <= _TOLERANCE[expected.dtype] * size:
                self._differs = mine, f"{name} by {error:.3g}, its largest entry being {size:.3g}"
        self._write(theirs, mine)
        if not self._inside and theirs._base is None:
            self._compared.setdefault(mine.number, theirs)

    def _decomposed(
        self, func: Any, name: str, args: Any, kwargs: Any, written: list[Any]
    ) -> list[Any]:
        """What an operation makes that is not in the table, decomposed as by PyTorch itself.

        The parts run beside the operation, on copies of what it writes to: what PyTorch goes on
        with, forward and backward, is its own.
        """
        packet = getattr(torch.ops.aten, name, None) if func.namespace == "aten" else None
        plain = getattr(packet, func._overloadname, None) or getattr(packet, "default", None)
        rule = func.decompose if func._can_decompose() else decomposition_table.get(plain)
        rule = rule or decomposition_table.get(func)
        if rule is None:
            shapes = " and ".join(str(tuple(x.shape)) for x in _tensors(args))
            with scope("") as here:
                place = here.parent.path if here.parent else "the loss"
            frames = reversed(traceback.extract_stack())
            line = next(x for x in frames if not x.filename.startswith(_OURS))
            raise NotImplementedError(
                f"in {place}: the mirror has no entry for PyTorch's {name} of {shapes}, called at "
                f"{Path(line.filename).name}:{line.lineno}; add one that says what it is in our "
                f"operations: tinygrad_rnn.torch.TABLE[{name!r}] = lambda x, ...: ..."
            )
        with self, self._looking_inside():
            changed = {id(x): x.clone() for x in written if x is not None}
            args, kwargs = tree_map_only(
                torch.Tensor, lambda x: changed.get(id(x), x), (args, kwargs)
            )
            found = _listed(rule(*args, **kwargs))
            return [self[x] if isinstance(x, torch.Tensor) else None for x in found]

    @contextmanager
    def _looking_inside(self) -> Iterator[None]:
        """Where PyTorch tracks no gradients, and we do."""
        self._inside += 1
        try:
            yield
        finally:
            self._inside -= 1

    def _storage(self, theirs: Any) -> Storage | None:
        return self._storages.get(theirs.untyped_storage()._cdata)

    def _stands(self, theirs: Any) -> Tensor | None:
        """What stands at a tensor's place; None if some of it was never seen."""
        storage = self._storage(theirs)
        mine = storage.read(theirs) if storage else None
        if mine is not None and mine.number not in self.offsets:
            self._compared[mine.number] = None  # a part: PyTorch has another for each view of it
        return mine

    def _place(self, theirs: Any, flows: bool) -> Any:
        """Where a tensor is, and whether a gradient flows through it."""
        at = theirs.storage_offset(), tuple(theirs.shape), theirs.stride()
        return theirs.untyped_storage()._cdata, at, flows

    def _as_of(self, theirs: Any) -> Any:
        """What changes when there is something else to read than before."""
        storage = self._storage(theirs)
        return theirs._version, storage.ends[-1] if storage else None

    def _know(self, theirs: Any, mine: Tensor) -> None:
        self._read[self._place(theirs, mine.requires_grad)] = theirs, mine, self._as_of(theirs)
        self.offsets.setdefault(mine.number, theirs.storage_offset())

    def _write(self, theirs: Any, mine: Tensor, everywhere: bool = True) -> None:
        storage = self._storage(theirs) or Storage(theirs)
        self._storages[storage.keep._cdata] = storage
        storage.write(theirs, mine, everywhere)
        self._know(theirs, mine)

    def _overwrite(self, theirs: Any) -> None:
        """PyTorch wrote numbers that carry no gradient into a tensor."""
        storage = self._storage(theirs)
        if storage is not None:
            new, old = Tensor(_array(theirs)), storage.read(theirs)
            if old is not None and theirs.requires_grad and not torch.is_grad_enabled():
                new = old + (new.data - old.data)  # the values change, not their history
            storage.write(theirs, new)

    def run(self, apply: Callable[..., Any], function: Any, *args: Any, **kwargs: Any) -> Any:
        """Run a `torch.autograd.Function` in a scope of its name, looking into its forward."""
        for theirs in _tensors((args, kwargs)):
            if theirs.requires_grad:
                self[theirs]
        before = Tensor(0.0).number
        with scope(function.__name__):
            with self._looking_inside():
                out = apply(function, *args, **kwargs)
            for theirs in _tensors(out):
                if not theirs.requires_grad:
                    continue
                mine = self._stands(theirs)
                if mine is None or not mine.requires_grad:
                    raise NotImplementedError(
                        f"{function.__name__}, a torch.autograd.Function, computes its output of "
                        f"shape {tuple(theirs.shape)} where the mirror cannot see it, outside of "
                        f"PyTorch; write its forward with PyTorch's operations"
                    )
                if mine.number < before:  # an identity, with a derivative of its own
                    mine = mine.reshape(mine.shape)
                self._know(theirs, mine)
                self._compared.setdefault(mine.number, theirs)
        return out


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def _tensors(x: Any) -> list[Any]:
    return [leaf for leaf in tree_leaves(x) if isinstance(leaf, torch.Tensor)]


def _array(theirs: Any) -> Array:
    if theirs.dtype in (torch.bfloat16, torch.float16) or theirs.device.type != "cpu":
        raise TypeError(
            f"the mirror was given a tensor of {theirs.dtype} on {theirs.device}; it reads float64 "
            f"and float32 on the CPU: convert the model by model.cpu().float(), without autocast"
        )
    found: Array = theirs.detach().numpy()
    return found


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
    TypeError
        If a tensor is neither in float64 nor in float32, or not on the CPU.

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
    paths = {module: path for path, module in model.named_modules()}
    open_scopes: list[Scope] = []

    def enter(module: Any, _: Any) -> None:
        above = paths.get(m.modules.get(open_scopes[-1]), "") if open_scopes else ""
        here = scope(
            paths[module].removeprefix(f"{above}." if above else "") or type(module).__name__
        )
        m.modules[here] = module
        open_scopes.append(here.__enter__())

    def leave(*_: Any) -> None:
        open_scopes.pop().__exit__()

    with ExitStack() as stack, collector_paused():
        for module in paths:
            stack.callback(module.register_forward_pre_hook(enter).remove)
            stack.callback(module.register_forward_hook(leave, always_call=True).remove)
        stack.callback(setattr, torch.autograd.Function, "apply", classmethod(apply))
        torch.autograd.Function.apply = classmethod(functools.partial(m.run, apply))
        # Not through torch.backends: its flags may be frozen, and their context warns of others.
        stack.callback(torch._C._set_mkldnn_enabled, torch._C._get_mkldnn_enabled())
        torch._C._set_mkldnn_enabled(False)
        stack.enter_context(m)
        yield m
    record = tape(*(x for storage in m._storages.values() for x in storage.pieces))[::-1]
    parameters = {x.number: name for name, x in m.parameters.items()}
    find_time(record, parameters, m.modules, m.detached, m.offsets)
