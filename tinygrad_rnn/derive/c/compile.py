"""A C text compiled, kept, and called like the functions of the NumPy text."""

from __future__ import annotations

import ctypes
import functools
import hashlib
import importlib.util
import itertools
import os
import platform
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ...engine import Array
from ..record import DeriveError
from .text import Block, Printed

__all__ = ["Compiled"]

# Not -ffast-math: infinities and NaN stay what they are. What is dropped is errno and the flags of
# the processor, which nobody reads, and with them what keeps loops from being vectorised.
_FLAGS = (
    "-std=c99 -O3 -march=native -fno-math-errno -fno-trapping-math -ffp-contract=fast "
    "-fopenmp-simd -fPIC -shared -w"
).split()
_NEEDED = (
    "derive(cell, target='c') needs a C compiler: there is no cc, gcc or clang on the PATH; "
    "pip install tinygrad-rnn[c] brings one, and target='numpy' needs none"
)


def compiler() -> list[str]:
    """The command that compiles C.

    Raises
    ------
    DeriveError
        If there is none.
    """
    for name in ("cc", "gcc", "clang"):
        if path := shutil.which(name):
            return [path]
    if importlib.util.find_spec("ziglang"):
        return [sys.executable, "-m", "ziglang", "cc"]
    raise DeriveError(_NEEDED)


@functools.cache
def blas() -> tuple[Any, str]:
    """The library of matrix products that NumPy has loaded, and the type of its integers."""
    try:
        from threadpoolctl import threadpool_info
    except ImportError:
        return None, "int"
    for found in threadpool_info():
        if found["user_api"] == "blas":
            library = ctypes.CDLL(found["filepath"])
            for name in (
                "scipy_cblas_dgemm64_",
                "cblas_dgemm64_",
                "scipy_cblas_dgemm",
                "cblas_dgemm",
            ):
                if hasattr(library, name):
                    single = name.replace("dgemm", "sgemm")
                    both = getattr(library, name), getattr(library, single)
                    return both, "int64_t" if "64" in name else "int"
    return None, "int"


def folder() -> Path:
    """Where compiled libraries are kept."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("LOCALAPPDATA")
    return Path(home) if home else Path.home() / ".cache"


@functools.cache
def library(text: str) -> ctypes.CDLL:
    """The library of a text: compiled now, unless that has been done before.

    Raises
    ------
    DeriveError
        If there is no compiler, or if it fails.
    """
    functions, integer = blas()
    command = [*compiler(), *_FLAGS, f"-DBLAS_INT={integer}"]
    tool = os.stat(shutil.which(command[0]) or command[0])
    # A home folder may be shared by machines whose processors differ.
    key = repr((text, command, tool.st_size, tool.st_mtime_ns, platform.machine(), platform.node()))
    name = f"{hashlib.sha256(key.encode()).hexdigest()[:32]}.so"
    place = folder() / "tinygrad-rnn"
    try:
        place.mkdir(parents=True, exist_ok=True)
        if not (place / name).exists():
            built(text, command, place, name)
    except OSError:
        place = Path(tempfile.mkdtemp(prefix="tinygrad-rnn-"))
        built(text, command, place, name)
    found = ctypes.CDLL(str(place / name))
    for single in (False, True):
        use = getattr(found, "use_blasf" if single else "use_blas", None)
        if functions and use:
            use(functions[single])
    return found


def built(text: str, command: Sequence[str], place: Path, name: str) -> None:
    """Compile into a file that is there whole or not at all."""
    with tempfile.TemporaryDirectory(dir=place) as made:
        source, result = Path(made, "program.c"), Path(made, name)
        source.write_text(text, encoding="utf-8")
        done = subprocess.run(
            [*command, str(source), "-o", str(result), "-lm"], capture_output=True, text=True
        )
        if done.returncode:
            raise DeriveError(f"{' '.join(command)} failed on the program: {done.stderr[:2000]}")
        os.replace(result, place / name)


class _Memory:
    """A piece of memory that goes back to its pool when nobody needs it."""

    def __init__(self, pool: list[tuple[Array, int]], size: int) -> None:
        self.pool = pool
        try:
            self.piece = pool.pop()
        except IndexError:
            self.piece = _fresh(size)
        if not size <= self.piece[0].size <= 2 * size + 64:
            del self.piece  # before there is another one
            self.piece = _fresh(size)
        self.array, self.address = self.piece

    def __del__(self) -> None:
        if len(self.pool) < 2:
            self.pool.append(self.piece)


def _fresh(size: int) -> tuple[Array, int]:
    """New memory, and its address: at a line of the cache."""
    array = np.empty(size + 64, np.uint8)
    skip = -array.ctypes.data % 64
    return array[skip : skip + size], array.ctypes.data + skip


class _Sizes:
    """What follows from the number of steps: how much memory is needed, and where arrays begin."""

    def __init__(self, printed: Printed, T: int) -> None:
        self.T = T
        self.saved = _ends(printed.saved, T)[-1]
        self.work = max(_ends(blocks, T)[-1] for blocks in printed.work)
        gradients = [printed.blocks[name] for name in printed.gradients if name]
        *starts, self.size = _ends(gradients, T)
        self.gradients = [
            (block.whole(T), block.dtype, start)
            for block, start in zip(gradients, starts, strict=True)
        ]
        self.starts = starts
        name, later = printed.output
        output = printed.blocks[name]
        self.held = -1  # in which memory the outputs are, and where
        self.output: tuple[Any, Any, int] = ((), None, 0)
        for k, held in enumerate((printed.saved, printed.work[0])):
            if output in held:
                start = _ends(held, T)[held.index(output)] + later * output.step
                shape = (T, *output.shape) if output.slots else output.shape
                self.held, self.output = k, (shape, output.dtype, start)


def _ends(blocks: Sequence[Block], T: int) -> list[int]:
    """Where each array begins in a piece of memory, and where the last one ends."""
    return [0, *itertools.accumulate(block.size(T) for block in blocks)]


class Compiled:
    """A compiled program: `forward` and `backward`, called as those of the NumPy text.

    Between two calls it keeps the addresses of the weights, and memory in pools: calls in several
    threads take from these what no other has.
    """

    def __init__(self, printed: Printed, title: str, plain: Callable[[], Any]) -> None:
        self.printed, self.title = printed, title
        self.plain = functools.cache(plain)  # for complex numbers, which a complex step needs
        found = library(printed.text)
        self.functions = [found.forward, found.backward]
        for function, names in zip(self.functions, printed.arguments, strict=True):
            function.restype = ctypes.c_int64
            function.argtypes = [ctypes.c_int64] * 2 + [ctypes.c_void_p] * (len(names) + 2)
        self.constants = [*printed.constants.values()]
        names = [*printed.inputs, *printed.states, *printed.weights, *printed.constants]
        self.given = [printed.blocks[name] for name in names]
        self.states = slice(len(printed.inputs), len(printed.inputs) + len(printed.states))
        written = [name for name in printed.gradients if name]
        places = [*names, printed.d_ys, *written]  # of what a call has pointers to, in this order
        self.order = [[places.index(name) for name in each] for each in printed.arguments]
        self.known: list[Any] = [(None, 0)] * len(names)
        self.pools: list[list[tuple[Array, int]]] = [[], []]  # of what is saved, and to work in
        self.sizes = _Sizes(printed, 1)  # of the last call: exchanged as a whole

    def forward(self, *arrays: Array) -> tuple[Array, Sequence[Array], Any]:
        """Outputs, last state, and what `backward` needs; what is returned is overwritten later."""
        for x in arrays:
            if x.dtype.kind == "c":
                _, forward, backward = self.plain()
                outputs, last, kept = forward(*arrays)
                return outputs, last, functools.partial(backward, kept)
        T, B = arrays[0].shape[:2]
        sizes = self.sizes
        if sizes.T != T:
            sizes = self.sizes = _Sizes(self.printed, T)
        found, pointers = [*arrays, *self.constants], []
        for k, x in enumerate(found):
            same, pointer = self.known[k]
            if same is not x:
                block = self.given[k]
                found[k] = array = self.fitting(block, x, T)
                if self.states.start <= k < self.states.stop:
                    found[k] = array = array.copy()
                pointer = array.ctypes.data
                if array is x and not block.slots:
                    self.known[k] = x, pointer
            pointers.append(pointer)
        saved = _Memory(self.pools[0], sizes.saved)
        work = _Memory(self.pools[1], sizes.work)
        self.run(0, T, B, pointers, saved, work)
        block = self.printed.blocks[self.printed.output[0]]
        if sizes.held < 0:
            outputs = found[self.given.index(block)]
        else:
            shape, dtype, start = sizes.output
            outputs = np.ndarray(shape, dtype, (saved, work)[sizes.held].array, start)
        if not block.slots:
            outputs = np.broadcast_to(outputs, (T, *block.shape))
        return outputs, found[self.states], (B, sizes, saved, found, pointers)

    def backward(self, kept: Any, d_ys: Array, *d_states: Array) -> tuple[Array | None, ...]:
        """The gradients of what `forward` was given, in its order."""
        if callable(kept):
            found: tuple[Array | None, ...] = kept(d_ys, *d_states)
            return found
        printed, (B, sizes, saved, _, pointers) = self.printed, kept
        d_ys = self.fitting(printed.blocks[printed.d_ys], d_ys, sizes.T)
        memory, place = _fresh(sizes.size)
        made = [np.ndarray(shape, dtype, memory, at) for shape, dtype, at in sizes.gradients]
        pointers = [*pointers, d_ys.ctypes.data, *(place + at for at in sizes.starts)]
        first = printed.gradients[0] is not None
        for k, d_state in enumerate(d_states):
            made[first + k][...] = d_state
        self.run(1, sizes.T, B, pointers, saved, _Memory(self.pools[1], sizes.work))
        each = iter(made)
        return tuple([None if name is None else next(each) for name in printed.gradients])

    def fitting(self, block: Block, x: Array, T: int) -> Array:
        """An array as the program reads it."""
        if x.shape != block.whole(T):
            raise ValueError(
                f"the program of {self.title} was given {block.name} of shape {x.shape}; it was "
                f"derived for {block.whole(T)}"
            )
        if x.dtype != block.dtype or not x.flags.c_contiguous:
            x = np.ascontiguousarray(x, block.dtype).reshape(x.shape)
        return x

    def run(
        self, k: int, T: int, B: int, pointers: list[int], saved: _Memory, work: _Memory
    ) -> None:
        given = [pointers[n] for n in self.order[k]]
        if self.functions[k](T, B, *given, saved.address, work.address):
            raise IndexError(
                f"the program of {self.title} was given an index outside of the array it picks from"
            )
