"""How NumPy spells an operation: read from the function that computes it."""

from __future__ import annotations

import ast
import functools
import inspect
import textwrap
from collections.abc import Callable
from types import CodeType
from typing import Any

import numpy as np

__all__ = ["spelling"]

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
