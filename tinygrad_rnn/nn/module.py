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
    and dicts of either; a computed tensor is not a parameter. A tensor without a name takes that of
    the attribute it is assigned to.

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
        """The parameters by path, such as ``cells.0.W_xh``; a shared one is listed once.

        Raises
        ------
        ValueError
            If two parameters have the same path, as in ``{"b.c": p, "b": {"c": q}}``.
        """
        found: dict[str, Tensor] = {}
        seen: set[Tensor] = set()
        for path, part in _walk(self):
            if _is_parameter(part) and part not in seen:
                if path in found:
                    raise ValueError(
                        f"two parameters of {type(self).__name__} have the path {path!r}; give one "
                        f"of the keys or attributes that lead to them another name"
                    )
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
            Naming every entry at once that is missing, unexpected, of another shape, or loses its
            value in the parameter's dtype; nothing is changed.
        """
        parameters = self.named_parameters()
        expected = {path: p.data for path, p in parameters.items()}
        for path, array in fitted(state, expected, f"the state does not fit {type(self).__name__}"):
            parameters[path].data = array

    def __repr__(self) -> str:
        lines = []
        for path, part in _walk(self):
            if isinstance(part, Module):
                count = sum(p.size for p in part.parameters())
                lines.append(f"{path} {type(part).__name__}: {count:,} parameters".strip())
            elif _is_parameter(part):
                lines.append(f"  {path} {part.shape} {part.dtype}")
        return "\n".join(lines)


def fitted(
    given: Mapping[str, Any], expected: Mapping[str, Array], problem: str
) -> list[tuple[str, Array]]:
    """The given arrays in the expected ones' order and dtypes, C-contiguous, if all of them fit."""
    arrays = {path: np.asarray(value) for path, value in given.items()}
    problems = [f"{path} is missing" for path in expected if path not in arrays]
    problems += [f"{path} is unexpected" for path in arrays if path not in expected]
    found = []
    for path in [path for path in expected if path in arrays]:
        array, wanted = arrays[path], expected[path]
        if array.shape != wanted.shape:
            problems.append(f"{path} has shape {array.shape} instead of {wanted.shape}")
        elif not np.can_cast(array.dtype, wanted.dtype, "same_kind"):
            problems.append(f"{path} holds {array.dtype} instead of {wanted.dtype}")
        else:
            with np.errstate(over="ignore"):
                found.append((path, np.array(array, dtype=wanted.dtype, order="C")))
            if (np.isinf(found[-1][1]) & ~np.isinf(array)).any():
                problems.append(f"{path} has values too large for {wanted.dtype}")
    if problems:
        raise ValueError(
            f"{problem}: {'; '.join(problems)}; build the module with the sizes and dtype that "
            f"these values were saved with"
        )
    return found


def _is_parameter(part: Any) -> bool:
    return isinstance(part, Tensor) and part.requires_grad and part.primitive is None


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
    named = vars(part) if isinstance(part, Module) else part
    pairs = named.items() if isinstance(named, dict) else enumerate(named)
    return [(str(key), child) for key, child in pairs]
