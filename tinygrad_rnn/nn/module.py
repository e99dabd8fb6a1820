"""`Module`: something with parameters, found by attribute when they are asked for."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from ..engine import Array, Tensor

__all__ = ["Module"]


class Module:
    """Something with parameters: a cell, a layer, a whole net.

    Needs no registration and no ``super().__init__()``. Its parameters are the tensors with
    ``requires_grad=True`` among its attributes, those of its submodules, and those in lists, tuples
    and dicts of either. A tensor without a name takes that of the attribute it is assigned to.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> class Scale(tr.nn.Module):
    ...     def __init__(self):
    ...         self.w = tr.Tensor([1.0, 2.0], requires_grad=True)
    ...     def __call__(self, x):
    ...         return self.w * x
    >>> list(Scale().named_parameters())
    ['w']
    """

    training = True  # whether dropout drops; see train() and eval()

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, Tensor) and value.name is None:
            value.name = name
        super().__setattr__(name, value)

    def named_parameters(self) -> dict[str, Tensor]:
        """The parameters by path, such as ``cells.0.W_xh``; one that is shared comes up once."""
        found: dict[str, Tensor] = {}
        seen: set[Tensor] = set()
        for path, part in _walk(self):
            if isinstance(part, Tensor) and part.requires_grad and part not in seen:
                seen.add(part)
                found[path] = part
        return found

    def parameters(self) -> list[Tensor]:
        """The parameters, in the order of `named_parameters`."""
        return list(self.named_parameters().values())

    def train(self, training: bool = True) -> None:
        """Switch dropout on, here and in every submodule; `eval` switches it off."""
        for _, part in _walk(self):
            if isinstance(part, Module):
                part.training = training

    def eval(self) -> None:
        """Switch dropout off, here and in every submodule."""
        self.train(False)

    def state_dict(self) -> dict[str, Array]:
        """The parameters' values by path; plain read-only arrays."""
        return {path: p.data for path, p in self.named_parameters().items()}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give every parameter the value stored under its path.

        Raises
        ------
        ValueError
            Naming every missing, unexpected and wrongly shaped entry at once; nothing is changed.
        """
        parameters = self.named_parameters()
        arrays = {path: np.asarray(value) for path, value in state.items()}
        problems = [f"{path} is missing" for path in parameters if path not in arrays]
        problems += [f"{path} is unexpected" for path in arrays if path not in parameters]
        problems += [
            f"{path} has shape {arrays[path].shape} instead of {p.shape}"
            for path, p in parameters.items()
            if path in arrays and arrays[path].shape != p.shape
        ]
        if problems:
            raise ValueError(
                f"the state does not fit {type(self).__name__}: {'; '.join(problems)}; "
                f"build the module with the sizes that the state was saved with"
            )
        for path, p in parameters.items():
            p.data = np.array(arrays[path], dtype=p.dtype)

    def __repr__(self) -> str:
        return "\n".join(_describe(self, type(self).__name__, ""))


def _walk(root: Any) -> Iterator[tuple[str, Any]]:
    """Everything below `root` that may hold parameters, by path, in order of assignment."""
    waiting = [("", root)]
    seen: set[int] = set()
    while waiting:
        path, part = waiting.pop()
        if isinstance(part, (Module, list, tuple, dict)):
            if id(part) in seen:
                continue
            seen.add(id(part))
            waiting += [
                (f"{path}.{name}" if path else name, child) for name, child in _children(part)
            ][::-1]
        yield path, part


def _children(part: Any) -> list[tuple[str, Any]]:
    if isinstance(part, Module):
        return list(vars(part).items())
    if isinstance(part, dict):
        return [(str(key), child) for key, child in part.items()]
    return [(str(i), child) for i, child in enumerate(part)]


def _describe(module: Module, title: str, indent: str) -> list[str]:
    count = sum(p.size for p in module.parameters())
    lines = [f"{indent}{title}: {count:,} parameters"]
    waiting = [(name, child) for name, child in vars(module).items()]
    for name, child in waiting:
        if isinstance(child, Tensor) and child.requires_grad:
            lines.append(f"{indent}  {name} {child.shape} {child.dtype}")
        elif isinstance(child, Module):
            lines += _describe(child, f"{name} {type(child).__name__}", indent + "  ")
        elif isinstance(child, (list, tuple, dict)):
            for key, inner in _children(child):
                if isinstance(inner, Module):
                    title = f"{name}.{key} {type(inner).__name__}"
                    lines += _describe(inner, title, indent + "  ")
    return lines
