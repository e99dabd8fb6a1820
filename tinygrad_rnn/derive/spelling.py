"""How NumPy spells an operation: read from the function that computes it.

The body of `tinygrad_rnn.tanh` is ``return np.tanh(x)``; with an operand in the place of x, that is
the operation in a program. An operation of one's own is spelled in the same way.
"""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

import numpy as np

from ..engine import Primitive

__all__ = ["spelled", "spelling"]

# Ufuncs that Python writes as operators.
_OPERATORS = {
    "add": "a + b", "subtract": "a - b", "multiply": "a * b", "divide": "a / b", "power": "a ** b",
    "matmul": "a @ b", "negative": "-a", "equal": "a == b", "not_equal": "a != b",
    "less": "a < b", "less_equal": "a <= b", "greater": "a > b", "greater_equal": "a >= b",
}  # fmt: skip
_SAME_CODE = ("co_code", "co_consts", "co_names", "co_varnames")


@functools.cache
def spelling(function: Callable[..., Any]) -> ast.expr | None:
    """What a function returns, if that is all it does; else None.

    That is, if its body is one ``return`` of an expression in its parameters and ``np`` alone.

    Examples
    --------
    >>> import ast, tinygrad_rnn as tr
    >>> from tinygrad_rnn.derive.spelling import spelling
    >>> ast.unparse(spelling(tr.tanh.forward))
    'np.tanh(x)'
    """
    try:
        source = "import numpy as np\n" + textwrap.dedent(inspect.getsource(function))
        module = ast.parse(source)
        _, definition = module.body
        assert isinstance(definition, ast.FunctionDef)
        *docstring, last = definition.body
        assert isinstance(last, ast.Return)
        assert last.value is not None
        assert len(docstring) == (ast.get_docstring(definition) is not None)
    except (OSError, TypeError, SyntaxError, ValueError, AssertionError):
        return None
    # The file may have changed since it was imported: the code that runs has the last word.
    definition.decorator_list = []
    constants = compile(module, "<expression>", "exec").co_consts
    compiled = next(c for c in constants if isinstance(c, CodeType))
    names = {node.id for node in ast.walk(last.value) if isinstance(node, ast.Name)}
    if (
        any(getattr(compiled, a) != getattr(function.__code__, a) for a in _SAME_CODE)
        or not names <= {"np", *inspect.signature(function).parameters}
        or function.__globals__.get("np") is not np
    ):
        return None
    return last.value


def spelled(
    do: Primitive, operands: Sequence[ast.expr], settings: Mapping[str, ast.expr]
) -> ast.expr | None:
    """An operation on these operands, with these settings; None if it has no spelling.

    Ufuncs are written as operators: ``a + b`` for ``np.add(a, b)``.
    """
    form = spelling(do.forward)
    if form is None:
        return None
    places: dict[str, Any] = dict(settings)
    waiting = list(operands)
    for name, parameter in inspect.signature(do.forward).parameters.items():
        if parameter.kind is parameter.VAR_POSITIONAL:
            places[name] = ast.List(waiting, ast.Load())
        elif waiting and parameter.kind is not parameter.KEYWORD_ONLY:
            places[name] = waiting.pop(0)
        elif name not in places:
            places[name] = ast.parse(repr(parameter.default), mode="eval").body
    found: ast.expr = _exchanged(form, places)
    return found


def _exchanged(node: Any, places: Mapping[str, Any]) -> Any:
    """A copy of an expression with other expressions in the place of some names."""
    if isinstance(node, ast.Name) and node.id in places:
        return places[node.id]
    if isinstance(node, list):
        return [_exchanged(part, places) for part in node]
    if not isinstance(node, ast.AST):
        return node
    new: Any = type(node)(**{k: _exchanged(part, places) for k, part in ast.iter_fields(node)})
    return _operators(new) if isinstance(new, ast.Call) else new


def _operators(call: ast.Call) -> ast.expr:
    """``np.add(a, b)`` as ``a + b``; and without settings that are NumPy's own defaults."""
    module, _, name = ast.unparse(call.func).partition(".")
    if module != "np":
        return call
    call.keywords = [k for k in call.keywords if ast.unparse(k.value) not in ("None", "False")]
    form = _OPERATORS.get(name, "")
    if call.keywords or not form or len(call.args) != 1 + ("b" in form):
        return call
    places = dict(zip("ab", call.args, strict=False))
    found: ast.expr = _exchanged(ast.parse(form, mode="eval").body, places)
    return found
