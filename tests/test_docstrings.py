"""Every public name says what it is, takes, gives and refuses, with an example.

The examples run with the other tests (``--doctest-modules``); here it is held that they are there,
and that they have not fallen behind the code: parameters and errors are looked up in it.
"""

from __future__ import annotations

import ast
import inspect
import re
import textwrap
from collections.abc import Iterator
from typing import Any

import pytest

import tinygrad_rnn
import viz
from tinygrad_rnn.engine.tensor import Primitive

PLACES = (tinygrad_rnn, tinygrad_rnn.nn, tinygrad_rnn.train, tinygrad_rnn.check, viz)
# Types and values that no docstring can be put on; the reference has a line for each.
PLAIN = {"Array", "Rule", "Seed", "operations"}


def public() -> Iterator[tuple[str, Any]]:
    """Every public name with what it names, the packages themselves left out."""
    for place in PLACES:
        for name in getattr(place, "__all__", None) or dir(place):
            value = getattr(place, name)
            if not (name.startswith("_") or name in PLAIN or inspect.ismodule(value)):
                yield f"{place.__name__}.{name}", value


def members() -> Iterator[tuple[str, Any]]:
    """Every public method and property that a public class defines itself."""
    for place, value in public():
        if inspect.isclass(value):
            for name, member in vars(value).items():
                member = getattr(member, "__func__", member)
                is_lambda = getattr(member, "__name__", "") == "<lambda>"  # operators by name
                if not (name.startswith("_") or is_lambda) and (
                    callable(member) or isinstance(member, property)
                ):
                    yield f"{place}.{name}", getattr(value, name)


NAMES, MEMBERS = dict(public()), dict(members())


def own_doc(value: Any) -> str:
    """The docstring, or "" where it is only the one of its class."""
    doc = inspect.getdoc(value) or ""
    return "" if doc == inspect.getdoc(type(value)) else doc


def code(value: Any) -> Any:
    """The function that is called: of a class, its ``__init__`` if it has one of its own."""
    if inspect.isclass(value):
        return vars(value).get("__init__")
    return value.fget if isinstance(value, property) else value


def raised(function: Any) -> set[str]:
    """The names of the exceptions in the ``raise`` statements of a function."""
    if not inspect.isfunction(function) or function.__code__.co_filename == "<string>":
        return set()  # a dataclass writes its own
    tree = ast.parse(textwrap.dedent(inspect.getsource(function)))
    calls = (node.exc for node in ast.walk(tree) if isinstance(node, ast.Raise))
    names = (call.func for call in calls if isinstance(call, ast.Call))
    return {name.id for name in names if isinstance(name, ast.Name) and name.id[0].isupper()}


def test_the_plain_ones_are_plain() -> None:
    for name in PLAIN:
        [value] = [getattr(place, name) for place in PLACES if hasattr(place, name)]
        assert not inspect.isclass(value)
        assert not inspect.isroutine(value)


@pytest.mark.parametrize("name", NAMES)
def test_it_has_words_and_an_example(name: str) -> None:
    doc = own_doc(NAMES[name])
    assert doc, f"{name} has no docstring of its own"
    assert ">>> " in doc, f"{name} has no example"


@pytest.mark.parametrize("name", NAMES)
def test_each_parameter_is_spoken_of(name: str) -> None:
    value = NAMES[name]
    function = value if isinstance(value, Primitive) else code(value)
    if function is None or (inspect.isclass(value) and "Made by" in own_doc(value)):
        return
    parameters = [p for p in inspect.signature(function).parameters if p != "self"]
    words = own_doc(value).partition("Examples\n---")[0]
    missing = [p for p in parameters if not re.search(rf"\b{p}\b", words)]
    assert not missing, f"the docstring of {name} says nothing of {missing}"


@pytest.mark.parametrize("name", [*NAMES, *MEMBERS])
def test_each_error_is_spoken_of(name: str) -> None:
    value = (NAMES | MEMBERS)[name]
    missing = [error for error in raised(code(value)) if error not in own_doc(value)]
    assert not missing, f"the docstring of {name} does not say that it raises {missing}"


@pytest.mark.parametrize("name", MEMBERS)
def test_each_method_and_property_has_words(name: str) -> None:
    assert own_doc(MEMBERS[name]), f"{name} has no docstring"
