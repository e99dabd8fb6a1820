"""The program in C computes what `unroll` computes, and leaves everything else alone."""

from __future__ import annotations

import ctypes
import os
import re
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import tinygrad_rnn as tr
from tests.cells import CELLS, each_cell, needs_c
from tinygrad_rnn.derive.c import compile
from tinygrad_rnn.derive.c.text import with_helpers

from . import test_program
from .test_program import B, H, I, T, assert_same, make
from .test_random_cells import OPERATIONS, RandomCell

try:
    compile.compiler()
except tr.DeriveError as error:
    pytest.skip(str(error), allow_module_level=True)

pytestmark = needs_c
EXAMPLES = int(os.environ.get("TINYGRAD_RNN_CELLS", 200)) // 10


def in_c(cell: Any, readout: Any = None) -> tr.Program:
    return tr.derive(cell, readout, target="c")


@each_cell
@pytest.mark.parametrize("how", [{}, {"lengths": [6, 1, 4], "reverse": True}, {"T": 1}])
def test_same_values_and_gradients_as_unroll(name: str, how: Any) -> None:
    assert_same(make(name), target="c", **how)


@each_cell
def test_in_single_precision(name: str) -> None:
    assert_same(make(name, np.float32), 1e-5, target="c", lengths=[6, 2, 3])


@pytest.mark.parametrize("sizes", [(1, 1), (7, 13), (33, 67)])
@pytest.mark.parametrize("name", ["lstm", "gru", "jordan"])
def test_one_sequence_and_odd_sizes(name: str, sizes: Any, monkeypatch: Any) -> None:
    for batch in (1, 5):
        monkeypatch.setattr(test_program, "I", sizes[0])
        monkeypatch.setattr(test_program, "B", batch)
        assert_same(CELLS[name](*sizes), 1e-11, T=9, target="c")


def test_arrays_may_be_laid_out_in_any_way() -> None:
    cell = make("lstm")
    xs = np.random.default_rng(0).normal(size=(I, B, 2 * T)).transpose(2, 1, 0)[::2]
    cell.W_hh.data = np.asfortranarray(cell.W_hh.data)
    want, _ = tr.derive(cell)(xs)
    got, _ = in_c(cell)(xs)
    np.testing.assert_allclose(got.data, want.data, rtol=1e-12, atol=1e-13)


@settings(max_examples=EXAMPLES, deadline=None, derandomize=True)
@given(
    plan=st.lists(
        st.tuples(
            st.sampled_from([o for o in OPERATIONS if o not in ("own sum", "own sin")]),
            st.integers(0, 9), st.integers(0, 9),
        ),
        min_size=2, max_size=9,
    ),
    ends=st.lists(st.integers(0, 12), min_size=1, max_size=3),
    seed=st.integers(0, 99),
    how=st.sampled_from([{}, {"lengths": [6, 2, 4]}, {"reverse": True}]),
)  # fmt: skip
def test_random_cells(plan: Any, ends: list[int], seed: int, how: Any) -> None:
    assert_same(RandomCell(plan, ends, seed), 1e-10, target="c", **how)


class Odd(tr.nn.ElmanCell):
    """Calls values what C calls something else, and uses many functions of entries."""

    def __call__(self, x: Any, h: Any) -> Any:
        double = x @ self.W_xh
        exp = h @ self.W_hh + self.b
        k = double + exp
        σ = tr.sigmoid(k)
        row = tr.exp(-σ * σ)
        int_ = tr.where(row > 0.5, row, -row) * (row > 0.3)
        T = int_ + tr.clip(k, -1.0, 1.0) ** 2 + tr.abs(k) + tr.sign(k) + tr.erf(k)
        T = T + tr.log1p(k * k) + tr.sqrt(1.0 + k * k) + tr.power(2.0, σ) / 2
        h = tr.tanh(0.3 * T) + 0.1 * ((k > 0) & (k < 1)).astype(k.dtype) + 0.1 * tr.minimum(k, σ)
        return h, h


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
def test_names_and_functions_of_all_kinds(dtype: Any) -> None:
    tolerance = 1e-12 if dtype == np.float64 else 1e-5
    assert_same(Odd(I, H, rng=0, dtype=dtype), tolerance, target="c")


def test_nan_and_infinity_are_what_they_are_in_numpy() -> None:
    cell, xs = make("lstm"), np.ones((T, B, I))
    xs[1, 0, 0], xs[2, 1, 1], xs[2, 2, 1] = np.nan, np.inf, -np.inf
    with np.errstate(invalid="ignore"):
        want, got = (tr.derive(cell, target=t)(xs)[0].data for t in ("numpy", "c"))
    assert np.isnan(got[1:, 0]).all()
    np.testing.assert_allclose(got, want, rtol=1e-12)


class Embedded(tr.nn.ElmanCell):
    """Reads words: integers."""

    def __init__(self) -> None:
        super().__init__(I, H, rng=0)
        self.table = tr.nn.parameter(np.random.default_rng(1).normal(size=(9, I)))

    def __call__(self, x: Any, h: Any) -> Any:
        return super().__call__(self.table[x], h)


def test_words_are_looked_up_and_a_wrong_one_is_an_error() -> None:
    cell = Embedded()
    words = np.array([[1, 8, -1], [1, 0, -9]])
    found = []
    for program in (tr.derive(cell), in_c(cell)):
        outputs, _ = program(words)
        found.append([outputs, *tr.grad((outputs**2).sum(), cell.parameters())])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got.data, want.data, rtol=1e-12, atol=1e-14)
    with pytest.raises(IndexError, match="outside"):
        program(np.array([[1, 9, 0]]))


@pytest.mark.oracle
@pytest.mark.parametrize("kind", ["elman", "lstm", "gru"])
def test_gradients_are_those_of_pytorch(kind: str) -> None:
    torch = pytest.importorskip("torch")
    cell = make(kind)
    layer = {"elman": torch.nn.RNN, "lstm": torch.nn.LSTM, "gru": torch.nn.GRU}[kind](
        I, H, dtype=torch.float64
    )
    hidden = np.zeros_like(cell.b.data)
    if kind == "gru":
        hidden[2 * H :] = cell.b_hn.data
    with torch.no_grad():
        for p, value in [
            (layer.weight_ih_l0, cell.W_xh.data.T), (layer.weight_hh_l0, cell.W_hh.data.T),
            (layer.bias_ih_l0, cell.b.data), (layer.bias_hh_l0, hidden),
        ]:  # fmt: skip
            p.copy_(torch.tensor(np.ascontiguousarray(value)))
    xs = np.random.default_rng(0).normal(size=(T, B, I))
    outputs, _ = in_c(cell)(xs)
    (outputs**3).sum().backward()
    theirs = layer(torch.tensor(xs))[0]
    (theirs**3).sum().backward()
    np.testing.assert_allclose(outputs.data, theirs.detach(), rtol=1e-12, atol=1e-14)
    for ours, p in [(cell.W_xh, layer.weight_ih_l0), (cell.W_hh, layer.weight_hh_l0)]:
        np.testing.assert_allclose(ours.grad.T, p.grad, rtol=1e-12, atol=1e-13)
    np.testing.assert_allclose(cell.b.grad, layer.bias_ih_l0.grad, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize("lengths", [None, [T, 2, 1]])
def test_a_readout_and_its_loss_are_part_of_it(lengths: Any) -> None:
    cell, scores = make("gru"), tr.nn.Linear(H, 7, rng=1)

    def loss(h: Any, target: Any) -> Any:
        return -(target * tr.log_softmax(scores(h))).sum(axis=-1)

    rng = np.random.default_rng(0)
    xs, targets = rng.normal(size=(T, B, I)), np.eye(7)[rng.integers(7, size=(T, B))]
    found = []
    for target in ("numpy", "c"):
        losses, _ = tr.derive(cell, loss, target)(xs, lengths=lengths, targets=targets)
        leaves = [*cell.parameters(), *scores.parameters()]
        found.append([losses, *tr.grad((losses**2).sum(), leaves)])
    for want, got in zip(*found, strict=True):
        np.testing.assert_allclose(got.data, want.data, rtol=1e-12, atol=1e-13)


def test_gradcheck_and_layers_take_it() -> None:
    program = in_c(make("lstm"))
    xs = np.random.default_rng(0).normal(size=(T, B, I))
    assert tr.check.gradcheck(lambda xs: program(xs, lengths=[T, 2, 1]), xs)
    layers = [
        tr.nn.LSTM(I, H, bidirectional=True, num_layers=2, rng=0, wrap=w) for w in (None, in_c)
    ]
    want, got = (layer(xs)[0].data for layer in layers)
    np.testing.assert_allclose(got, want, rtol=1e-12, atol=1e-14)


def test_one_text_serves_every_number_of_steps_and_sequences() -> None:
    texts = set()
    program = in_c(make("lstm"))
    for steps, batch in [(6, 3), (2, 1), (9, 17), (1, 64)]:
        program(np.ones((steps, batch, I)))
        texts.add(program.source)
    assert len(texts) == 1


@pytest.mark.parametrize("name", ["elman", "lstm", "peephole", "gru"])
def test_the_text_is_the_one_that_was_read_and_found_good(name: str) -> None:
    """The two functions; what they call is in helpers.c."""
    text = re.sub(
        r"(?s)\n\n(static|#define|typedef).*?\n\n(?=enum)", "\n\n", in_c(make(name)).source
    )
    golden = Path(__file__).with_name("golden") / f"{name}.c"
    assert text == golden.read_text(encoding="utf-8")


own_sin = tr.primitive("own sin", lambda x, /: [np.sin(x)][0], lambda g, y, x: g * tr.cos(x))


@pytest.mark.parametrize(
    ("operation", "why"),
    [
        (own_sin, "own sin does not work entry by entry, and is not known there"),
        (tr.primitive("half", lambda x, /: [x][0] / 2, lambda g, y, x: g / 2, entrywise=True),
         "half works entry by entry, but is no single expression"),
    ],
)  # fmt: skip
def test_what_c_cannot_say_is_refused_and_numpy_works(operation: Any, why: str) -> None:
    cell = tr.nn.ElmanCell(I, H, nonlinearity=operation, rng=0)
    with pytest.raises(tr.DeriveError, match=rf"{why}.*target='numpy'\) works"):
        in_c(cell)(np.ones((T, B, I)))
    tr.derive(cell)(np.ones((T, B, I)))
    with pytest.raises(ValueError, match="expected 'numpy' or 'c'"):
        tr.derive(cell, target="cuda")  # type: ignore[arg-type]


# --- the functions of entries ---------------------------------------------------------------------


def everywhere(dtype: Any) -> np.ndarray:
    """Numbers of all sizes and both signs."""
    rng = np.random.default_rng(0)
    found = [rng.uniform(-r, r, 200_000) for r in (0.7, 5.0, 40.0, 800.0)]
    sizes = 10.0 ** rng.uniform(-300 if dtype == np.float64 else -37, 3, 200_000)
    found += [sizes, -sizes]
    return np.concatenate(found).astype(dtype)


EXACT = {"exp": np.exp, "tanh": np.tanh, "sigmoid": lambda x: np.where(
    x < 0, np.exp(np.minimum(x, 0)), 1.0) / (1.0 + np.exp(-np.abs(x)))}  # fmt: skip


@pytest.mark.parametrize("dtype", [np.float64, np.float32])
@pytest.mark.parametrize("name", EXACT)
def test_functions_are_right_to_two_units_in_the_last_place(name: str, dtype: Any) -> None:
    """Against the same in extended precision."""
    if np.finfo(np.longdouble).nmant < 60:
        pytest.skip("this machine has no extended precision")
    f, kind = ("f", "float") if dtype == np.float32 else ("", "double")
    program = (
        f"void each(int64_t n, const {kind} *x, {kind} *y)\n{{\n    #pragma omp simd\n"
        f"    for (int64_t k = 0; k < n; k++)\n        y[k] = v{name}{f}(x[k]);\n}}"
    )
    run = compile.library(with_helpers(program)).each

    def each(x: np.ndarray) -> np.ndarray:
        y = np.empty_like(x)
        run(ctypes.c_int64(x.size), ctypes.c_void_p(x.ctypes.data), ctypes.c_void_p(y.ctypes.data))
        return y

    x = everywhere(dtype)
    least = {"sigmoid": -709.0 if dtype == np.float64 else -88.0}.get(name, -np.inf)
    x = x[x >= least]
    with np.errstate(all="ignore"):
        want = EXACT[name](x.astype(np.longdouble))
        got = each(x)
        finite = want <= np.finfo(dtype).max
        unit = np.spacing(np.abs(want[finite].astype(dtype))).astype(np.longdouble)
    assert np.max(np.abs(got[finite] - want[finite]) / unit) <= 2
    assert (got[~finite] == np.inf).all()
    ends = each(np.array([np.inf, -np.inf, np.nan, 0.0, -0.0] * 5, dtype))[:5]
    right = {"exp": [np.inf, 0, np.nan, 1, 1], "tanh": [1, -1, np.nan, 0, -0.0],
             "sigmoid": [1, np.exp(dtype(least)), np.nan, 0.5, 0.5]}[name]  # fmt: skip
    np.testing.assert_allclose(ends, right, rtol=1e-6)
    assert name != "tanh" or np.signbit(ends[4])


# --- the compiler ---------------------------------------------------------------------------------


def test_without_a_compiler_there_is_one_sentence(monkeypatch: Any) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    monkeypatch.setattr(compile.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(tr.DeriveError, match=r"needs a C compiler.*tinygrad-rnn\[c\]"):
        in_c(tr.nn.ElmanCell(2, 11, rng=0))(np.ones((2, 1, 2)))


@pytest.mark.parametrize("writable", [True, False])
def test_libraries_are_kept_in_a_folder_if_it_can_be_written(
    writable: bool, tmp_path: Path, monkeypatch: Any
) -> None:
    place = tmp_path / "a folder with spaces"
    if not writable:
        place.write_text("a file")
    monkeypatch.setenv("XDG_CACHE_HOME", str(place))
    compile.library.cache_clear()
    program = in_c(tr.nn.ElmanCell(2, 3, rng=0))
    program(np.ones((2, 1, 2)))
    kept = [f.name for f in place.rglob("*") if f.is_file()] if writable else []
    assert len(kept) == writable
    compile.library.cache_clear()
    monkeypatch.setattr(compile, "built", None)  # nothing is compiled a second time
    if writable:
        in_c(tr.nn.ElmanCell(2, 3, rng=1))(np.ones((2, 1, 2)))


def test_a_text_that_does_not_compile_leaves_nothing(tmp_path: Path, monkeypatch: Any) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(tr.DeriveError, match="failed on the program"):
        compile.library("no C")
    assert not [f for f in tmp_path.rglob("*") if f.is_file()]


def test_processes_may_compile_the_same_at_once(tmp_path: Path) -> None:
    code = (
        "import tinygrad_rnn as tr, numpy as np\n"
        "program = tr.derive(tr.nn.GRUCell(3, 4, rng=0), target='c')\n"
        "print(program(np.ones((2, 1, 3)))[0].data.sum())"
    )
    environment = os.environ | {"XDG_CACHE_HOME": str(tmp_path)}
    processes = [
        subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, env=environment)
        for _ in range(3)
    ]
    said = {process.communicate()[0] for process in processes}
    assert len(said) == 1
    assert b"." in said.pop()
    assert len([f for f in tmp_path.rglob("*") if f.is_file()]) == 1


def test_calls_from_threads_do_not_meet() -> None:
    program = in_c(make("lstm"))
    inputs = [np.random.default_rng(k).normal(size=(50, B, I)) for k in range(6)]
    want = []
    for xs in inputs:
        x = tr.Tensor(xs, requires_grad=True)
        want.append(tr.grad((program(x)[0] ** 2).sum(), [x])[0].data)
    wrong: list[int] = []

    def work(k: int) -> None:
        for _ in range(20):
            x = tr.Tensor(inputs[k], requires_grad=True)
            got = tr.grad((program(x)[0] ** 2).sum(), [x])[0].data
            if not np.array_equal(got, want[k]):
                wrong.append(k)

    threads = [threading.Thread(target=work, args=(k,)) for k in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


SANITIZED = """
import numpy as np, sys
import tinygrad_rnn as tr
from tinygrad_rnn.derive.c import compile
from tests.cells import CELLS
compile._FLAGS = [*compile._FLAGS, "-fsanitize=address", "-g"]
compile._Memory.__init__ = lambda self, pool, size: (
    setattr(self, "pool", pool), setattr(self, "piece", compile._fresh(size)),
    setattr(self, "array", self.piece[0]), setattr(self, "address", self.piece[1]))[0]
for name in CELLS:
    program = tr.derive(CELLS[name](), target="c")
    for shape, lengths in [((1, 1, 3), None), ((5, 2, 3), [5, 1])]:
        outputs, _ = program(tr.Tensor(np.ones(shape), requires_grad=True), lengths=lengths)
        outputs.sum().backward()
print("clean")
"""


def test_the_address_sanitizer_finds_nothing(tmp_path: Path) -> None:
    found = shutil.which("gcc")
    library = (
        found
        and subprocess.run(
            [found, "-print-file-name=libasan.so"], capture_output=True, text=True
        ).stdout.strip()
    )
    if not library or not os.path.isabs(library):
        pytest.skip("there is no gcc with the address sanitizer")
    done = subprocess.run(
        [sys.executable, "-c", SANITIZED], capture_output=True, text=True,
        cwd=Path(__file__).parents[2],
        env=os.environ | {"LD_PRELOAD": library, "ASAN_OPTIONS": "detect_leaks=0",
                          "XDG_CACHE_HOME": str(tmp_path), "PYTHONMALLOC": "malloc"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.strip() == "clean"
