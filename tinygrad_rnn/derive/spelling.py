"""How NumPy spells an operation: read from the function that computes it.

The body of `tinygrad_rnn.tanh` is ``return np.tanh(x)``; with an operand in the place of x, that is
the operation in a program. An operation of one's own is spelled in the same way.
"""

from __future__ import annotations

import ast
import copy
import functools
import inspect
import textwrap
from collections.abc import Callable, Mapping, Sequence
from types import CodeType
from typing import Any

import numpy as np

from ..engine import Primitive
from ..functions import erf, sigmoid

__all__ = ["named", "number_in_c", "spelled", "spelled_in_c", "spelling"]

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


# --- C --------------------------------------------------------------------------------------------

# NumPy's functions of entries, and what C calls them for double; for float with an f behind it.
# What begins with v is in helpers.c.
_IN_C = {
    "absolute": "fabs", "abs": "fabs", "arccos": "acos", "arccosh": "acosh", "arcsin": "asin",
    "arcsinh": "asinh", "arctan": "atan", "arctan2": "atan2", "arctanh": "atanh", "cbrt": "cbrt",
    "ceil": "ceil", "copysign": "copysign", "cos": "cos", "cosh": "cosh", "exp": "vexp",
    "exp2": "exp2", "expm1": "expm1", "fabs": "fabs", "floor": "floor", "hypot": "hypot",
    "log": "log", "log10": "log10", "log1p": "log1p", "log2": "log2", "maximum": "vmaximum",
    "minimum": "vminimum", "rint": "rint", "sign": "vsign", "sin": "sin", "sinh": "sinh",
    "sqrt": "sqrt", "tan": "tan", "tanh": "vtanh", "trunc": "trunc",
}  # fmt: skip
# Functions of entries that are no single expression of NumPy's.
_WITHOUT_FORM = {sigmoid: "vsigmoid", erf: "erf"}


def spelled_in_c(
    do: Primitive, operands: Sequence[ast.expr], settings: Mapping[str, Any], suffix: str
) -> ast.expr | None:
    """An operation on entries as C, or None: what NumPy calculates, in C's words.

    Python and C agree on the brackets that sums, products and comparisons need.
    """
    form = _form_in_c(do, len(operands), repr(settings), suffix)
    places = {f"_{k}": x for k, x in enumerate(operands)}
    return None if form is None else _exchanged(form, places)


@functools.cache
def _form_in_c(do: Primitive, count: int, settings: str, suffix: str) -> ast.expr | None:
    """The form of an operation, with _0, _1 and so on as operands."""
    operands = [ast.Name(f"_{k}") for k in range(count)]
    if do in _WITHOUT_FORM:
        return named(_WITHOUT_FORM[do] + suffix, *operands)
    try:
        given = ast.parse(settings, mode="eval").body
        if isinstance(do.forward, np.ufunc):
            form: Any = _operators(named(f"np.{do.forward.__name__}", *operands))
        else:
            assert isinstance(given, ast.Dict)
            names = [str(ast.literal_eval(key)) for key in given.keys if key]
            form = spelled(do, operands, dict(zip(names, given.values, strict=True)))
        return None if form is None else _InC(suffix).visit(copy.deepcopy(form))
    except (NotImplementedError, SyntaxError):
        return None


def named(function: str, *arguments: ast.expr) -> ast.Call:
    """A call."""
    return ast.Call(ast.parse(function, mode="eval").body, [*arguments], [])


class _InC(ast.NodeTransformer):
    """Turns an expression of NumPy's functions into one of C's."""

    def __init__(self, suffix: str) -> None:
        self.suffix = suffix

    def generic_visit(self, node: ast.AST) -> ast.AST:
        kinds = (ast.Name, ast.UnaryOp, ast.USub, ast.BinOp, ast.Add, ast.Sub, ast.Mult, ast.Div,
                 ast.Compare, ast.cmpop, ast.Load)  # fmt: skip
        if not isinstance(node, kinds) or (isinstance(node, ast.Compare) and len(node.ops) > 1):
            raise NotImplementedError
        return super().generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> ast.AST:
        if type(node.value) not in (bool, int, float):
            raise NotImplementedError
        return ast.Name(number_in_c(node.value, self.suffix))

    def visit_BinOp(self, node: ast.BinOp) -> ast.AST:
        if not isinstance(node.op, ast.Pow):
            return self.generic_visit(node)
        return named(f"pow{self.suffix}", self.visit(node.left), self.visit(node.right))

    def visit_Call(self, node: ast.Call) -> ast.AST:
        if isinstance(node.func, ast.Name):  # C already: an operand
            return node
        module, _, name = ast.unparse(node.func).partition(".")
        a = [self.visit(argument) for argument in node.args]
        if module != "np" or node.keywords:
            raise NotImplementedError
        if name in ("bitwise_and", "bitwise_or"):  # of booleans; integers are refused elsewhere
            return ast.BinOp(a[0], (ast.Mult if name == "bitwise_and" else ast.Add)(), a[1])
        if name == "invert":
            return ast.Compare(a[0], [ast.Eq()], [ast.Name("0")])
        if name == "where":
            return named("where", *a)
        if name == "clip":
            low, high = f"vmaximum{self.suffix}", f"vminimum{self.suffix}"
            return named(high, named(low, *a[:2]), a[2])
        if name in ("square", "reciprocal", "positive"):
            one = ast.Name(number_in_c(1.0, self.suffix))
            found: dict[str, ast.AST] = {
                "square": ast.BinOp(a[0], ast.Mult(), a[0]), "positive": a[0],
                "reciprocal": ast.BinOp(one, ast.Div(), a[0]),
            }  # fmt: skip
            return found[name]
        if name not in _IN_C:
            raise NotImplementedError
        return named(_IN_C[name] + self.suffix, *a)


def number_in_c(x: Any, suffix: str) -> str:
    """A number as C reads it; a float with an f where all is in single precision."""
    if isinstance(x, (bool, int, np.bool_, np.integer)):
        return str(int(x))
    if not np.isfinite(x):
        return "NAN" if x != x else "INFINITY" if x > 0 else "(-INFINITY)"
    return repr(float(x)) + suffix
