"""Derived programs against backpropagation through time by hand, PyTorch's fused layers and JAX.

    python benchmarks/derived.py                        the table: float64, one thread
    python benchmarks/derived.py --dtype float32        single precision
    python benchmarks/derived.py --threads 2            two cores for everybody
    python benchmarks/derived.py --floor                where each stands against the machine
    python benchmarks/derived.py --long                 time and memory a step, up to 100,000 steps
    python benchmarks/derived.py --long --c             the same of the program in C
    python benchmarks/derived.py --quick                a smoke test

Work: LSTM, GRU and Elman over the sizes (T, B, I, H) of eager.py, cross entropy over 10 classes
summed over all steps, forward and backward with the gradients of all parameters. The process is
held to as many cores as BLAS may use threads. All contestants must agree on the loss and the
gradients before a time is taken. Runs are interleaved and medians compared.

"derived" has the readout and the loss in the program; "c" is the same printed as C; "by engine"
reads out with the engine's Linear and cross_entropy; "hand" is handwritten.py; "jax" is jit(scan),
compiled and warm. A peer that is not installed is left out.
"""

from __future__ import annotations

import os
import sys

THREADS = sys.argv[sys.argv.index("--threads") + 1] if "--threads" in sys.argv else "1"
os.environ["OPENBLAS_NUM_THREADS"] = THREADS  # before NumPy loads
os.environ.setdefault("JAX_PLATFORMS", "cpu")
if hasattr(os, "sched_setaffinity"):
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: int(THREADS)])

import argparse
import ast
import functools
import platform
import random
import statistics
import time
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from typing import Any

import handwritten
import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import tinygrad_rnn as tr

SIZES = [(20, 1, 8, 16), (50, 16, 32, 64), (100, 32, 64, 128), (200, 64, 128, 256)]
CLASSES = 10
CELLS = {"lstm": tr.nn.LSTMCell, "gru": tr.nn.GRUCell, "elman": tr.nn.ElmanCell}
Run = Callable[[], tuple[float, dict[str, Any]]]


def net(kind: str, P: Any, X: Any) -> tuple[Any, Any, dict[str, Any]]:
    """Cell and readout with these parameters, and the parameters by handwritten.py's names."""
    cell = CELLS[kind](X.shape[-1], len(P["W_hh"]), dtype=X.dtype)
    readout = tr.nn.Linear(len(P["W_hh"]), CLASSES, dtype=X.dtype)
    tensors = cell.named_parameters() | {"V": readout.W, "d": readout.b}
    for name, p in tensors.items():
        p.data = P[name].copy()
    return cell, readout, tensors


def derived(kind: str, P: Any, X: Any, Y: Any, target: Any = "numpy") -> Run:
    cell, scores, tensors = net(kind, P, X)
    targets = np.eye(CLASSES, dtype=X.dtype)[Y]

    def loss(h: Any, target: Any) -> Any:
        log_p = tr.log_softmax(scores(h))
        return -(target * log_p).sum(axis=-1)

    program = tr.derive(cell, loss, target)

    def run() -> tuple[float, dict[str, Any]]:
        for p in tensors.values():
            p.grad = None
        total = program(X, targets=targets)[0].sum()
        total.backward()
        return total.item(), {name: p.grad for name, p in tensors.items()}

    return run


def by_engine(kind: str, P: Any, X: Any, Y: Any) -> Run:
    cell, scores, tensors = net(kind, P, X)
    program = tr.derive(cell)

    def run() -> tuple[float, dict[str, Any]]:
        for p in tensors.values():
            p.grad = None
        loss = tr.nn.cross_entropy(scores(program(X)[0]), Y)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in tensors.items()}

    return run


def fused(kind: str, P: Any, X: Any, Y: Any) -> Run | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(int(THREADS))
    dtype = torch.float64 if X.dtype == np.float64 else torch.float32
    H = len(P["W_hh"])
    layer = {"lstm": torch.nn.LSTM, "gru": torch.nn.GRU, "elman": torch.nn.RNN}[kind](
        X.shape[-1], H, dtype=dtype
    )
    readout = torch.nn.Linear(H, CLASSES, dtype=dtype)
    hidden = np.zeros_like(P["b"])
    if kind == "gru":
        hidden[2 * H :] = P["b_hn"]
    values = {
        layer.weight_ih_l0: P["W_xh"].T, layer.weight_hh_l0: P["W_hh"].T, layer.bias_ih_l0: P["b"],
        layer.bias_hh_l0: hidden, readout.weight: P["V"].T, readout.bias: P["d"],
    }  # fmt: skip
    with torch.no_grad():
        for p, value in values.items():
            p.copy_(torch.tensor(np.ascontiguousarray(value)))
    x, y = torch.tensor(X), torch.tensor(Y)

    def run() -> tuple[float, dict[str, Any]]:
        for p in values:
            p.grad = None
        scores = readout(layer(x)[0]).reshape(-1, CLASSES)
        loss = torch.nn.functional.cross_entropy(scores, y.reshape(-1), reduction="sum")
        loss.backward()
        return loss.item(), {
            "W_xh": layer.weight_ih_l0.grad.T.numpy(), "W_hh": layer.weight_hh_l0.grad.T.numpy(),
            "b": layer.bias_ih_l0.grad.numpy(), "V": readout.weight.grad.T.numpy(),
            "d": readout.bias.grad.numpy(),
        }  # fmt: skip

    return run


def scanned(kind: str, P: Any, X: Any, Y: Any) -> Run | None:
    try:
        import jax
    except ImportError:
        return None
    jax.config.update("jax_enable_x64", True)
    jnp = jax.numpy
    H = len(P["W_hh"])

    def step(P: Any, state: Any, x: Any) -> Any:
        h, c = state
        if kind == "elman":
            h = jnp.tanh(x @ P["W_xh"] + h @ P["W_hh"] + P["b"])
        elif kind == "lstm":
            a = x @ P["W_xh"] + h @ P["W_hh"] + P["b"]
            i, f, g, o = jnp.split(a, 4, axis=-1)
            c = jax.nn.sigmoid(f) * c + jax.nn.sigmoid(i) * jnp.tanh(g)
            h = jax.nn.sigmoid(o) * jnp.tanh(c)
        else:
            r, z, n = jnp.split(x @ P["W_xh"] + P["b"], 3, axis=-1)
            r_h, z_h, n_h = jnp.split(h @ P["W_hh"], 3, axis=-1)
            r, z = jax.nn.sigmoid(r + r_h), jax.nn.sigmoid(z + z_h)
            h = (1 - z) * jnp.tanh(n + r * (n_h + P["b_hn"])) + z * h
        return (h, c), h

    def loss(P: Any, X: Any, Y: Any) -> Any:
        start = jnp.zeros((X.shape[1], H), X.dtype)
        hs = jax.lax.scan(lambda s, x: step(P, s, x), (start, start), X)[1]
        log_p = jax.nn.log_softmax(hs @ P["V"] + P["d"])
        return -jnp.take_along_axis(log_p, Y[..., None], axis=-1).sum()

    work = jax.jit(jax.value_and_grad(loss))
    weights, x, y = {k: jnp.asarray(p) for k, p in P.items()}, jnp.asarray(X), jnp.asarray(Y)

    def run() -> tuple[float, dict[str, Any]]:
        value, gradients = work(weights, x, y)
        return float(value), {name: np.asarray(g) for name, g in gradients.items()}

    return run


def problem(kind: str, size: tuple[int, ...], dtype: str) -> tuple[Any, Any, Any]:
    """Parameters, inputs and targets."""
    T, B, I, H = size  # noqa: E741
    rng = np.random.default_rng(0)
    P = handwritten.parameters(kind, I, H, CLASSES, rng)
    P = {name: p.astype(dtype) for name, p in P.items()}
    X = rng.standard_normal((T, B, I)).astype(dtype)
    return P, X, rng.integers(CLASSES, size=(T, B))


def interleaved(runs: dict[str, Run], rounds: int) -> dict[str, float]:
    """Median seconds of each; whose turn it is after whom changes at random.

    JAX leaves threads behind that still run for a while: they shall not fall on the same one.
    """
    times: dict[str, list[float]] = {name: [] for name in runs}
    order, draw = list(runs.items()), random.Random(0)
    for _ in range(rounds):
        draw.shuffle(order)
        for name, run in order:
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def measure(kind: str, size: tuple[int, ...], dtype: str, rounds: int) -> dict[str, float]:
    """Median seconds of each contestant, after all have agreed."""
    work = problem(kind, size, dtype)
    contestants: dict[str, Run | None] = {
        "c": derived(kind, *work, "c"),
        "derived": derived(kind, *work),
        "by engine": by_engine(kind, *work),
        "hand": lambda: handwritten.CELLS[kind](*work),
        "torch": fused(kind, *work),
        "jax": scanned(kind, *work),
    }
    runs = {name: run for name, run in contestants.items() if run}
    loss, gradients = runs["c"]()
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    for name, run in runs.items():
        other, theirs = run()
        np.testing.assert_allclose(loss, other, rtol=tolerance, err_msg=name)
        for p, g in theirs.items():
            scale = abs(g).max()
            np.testing.assert_allclose(gradients[p], g, atol=tolerance * scale, err_msg=p)
    return interleaved(runs, rounds)


def table(dtype: str, quick: bool) -> None:
    print("ratios below 1: ours is faster")
    for kind in CELLS:
        for size in SIZES[: 1 if quick else None]:
            rounds = 3 if quick else max(9, min(300, 2_000_000 // (size[0] * size[1] ** 2)))
            found = measure(kind, size, dtype, rounds)
            for ours in ("derived", "c"):
                seconds = found.pop(ours)
                ratios = "".join(f"   /{name} {seconds / s:5.2f}" for name, s in found.items())
                print(f"{kind:6} {size!s:20} {ours:7} {seconds * 1e3:8.3f} ms{ratios}", flush=True)
    program = sys.modules["tinygrad_rnn.derive.program"]
    whole = deriving()
    program.prove = lambda *_: None  # type: ignore[attr-defined]
    print(f"deriving an LSTM step: {deriving():.0f} ms, and {whole:.0f} ms with its proof")


def deriving() -> float:
    """The least milliseconds."""
    seconds = []
    for _ in range(9):
        begun = time.perf_counter()
        tr.derive(tr.nn.LSTMCell(32, 64, rng=0)).source  # noqa: B018
        seconds.append(time.perf_counter() - begun)
    return 1e3 * min(seconds)


def numpy_calls(node: ast.AST) -> int:
    """How many a piece of the text makes by itself; its helper `sigmoid` makes five."""
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "sigmoid":
        return 5
    if not isinstance(node, (ast.Call, ast.BinOp, ast.UnaryOp)):
        return 0
    names = {n.id for n in ast.walk(node) if isinstance(n, ast.Name)}
    return int(not names <= {"T", "B", "H", "t"})  # lengths and indices are Python's own


def calls(source: str) -> tuple[int, int]:
    """How many NumPy calls the text makes in each step, and outside of its loops."""
    inside = outside = 0
    for function in ast.parse(source).body:
        if not isinstance(function, ast.FunctionDef) or function.name not in (
            "forward", "backward",
        ):  # fmt: skip
            continue
        in_loops = [n for loop in ast.walk(function) if isinstance(loop, ast.For)
                    for statement in loop.body for n in ast.walk(statement)]  # fmt: skip
        inside += sum(map(numpy_calls, in_loops))
        outside += sum(map(numpy_calls, ast.walk(function)))
    return inside, outside - inside


def floor(dtype: str) -> None:
    """Products over the machine's rate, plus calls times the least cost of one."""
    a, b = np.ones((2, 1024, 1024), dtype)
    seconds = min(interleaved({"product": lambda: a @ b}, 9).values())  # type: ignore[dict-item]
    rate = 2 * 1024**3 / seconds
    tiny, out = np.ones(4, dtype), np.ones(4, dtype)
    loops = 20_000
    begun = time.perf_counter()
    for _ in range(loops):
        np.add(tiny, tiny, out=out)
    call = (time.perf_counter() - begun) / loops
    print(f"products: {rate / 1e9:.1f} GFLOP/s; the least NumPy call: {call * 1e9:.0f} ns")
    print("products, and calls in the loops, as shares of the floor; times over the floor")
    gates = {"lstm": 4, "gru": 3, "elman": 1}
    for kind in CELLS:
        for size in SIZES:
            T, B, I, H = size  # noqa: E741
            P, X, Y = problem(kind, size, dtype)
            inside, outside = calls(tr.derive(CELLS[kind](I, H, dtype=dtype)).source)
            flops = 3 * 2 * T * B * (gates[kind] * H * (I + H) + CLASSES * H)
            least = flops / rate + (inside * T + outside) * call
            by_hand = functools.partial(handwritten.CELLS[kind], P, X, Y)
            runs = {"derived": derived(kind, P, X, Y), "hand": by_hand}
            found = interleaved(runs, max(5, min(100, 1_000_000 // (T * B * B))))
            print(
                f"{kind:6} {size!s:20} floor {least * 1e3:8.2f} ms"
                f"   products {flops / rate / least:4.0%}"
                f"   {inside} calls a step {inside * T * call / least:4.0%}"
                f"   derived {found['derived'] / least:5.2f}   hand {found['hand'] / least:5.2f}",
                flush=True,
            )


def long(target: str) -> None:
    """An LSTM of batch 1 with 8 inputs and 16 units."""
    print("steps      us a step   KB a step   of the hand-written program's")
    for T in (100, 1000, 10_000, 100_000):
        work = problem("lstm", (T, 1, 8, 16), "float64")
        by_hand = functools.partial(handwritten.CELLS["lstm"], *work)
        runs = {"derived": derived("lstm", *work, target), "hand": by_hand}
        peaks = {}
        for name, run in runs.items():
            run()
            tracemalloc.start()
            run()
            peaks[name] = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()
        seconds = interleaved(runs, 5)["derived"]
        kept = peaks["derived"] / T / 1e3
        print(
            f"{T:<10,} {seconds / T * 1e6:9.1f} {kept:11.2f}   "
            f"{peaks['derived'] / peaks['hand']:.2f} times",
            flush=True,
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the smallest size, three rounds")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    parser.add_argument("--threads", default="1", help="cores, and BLAS threads")
    parser.add_argument("--floor", action="store_true", help="against the machine's own limits")
    parser.add_argument("--long", action="store_true", help="up to 100,000 steps")
    parser.add_argument("--c", action="store_true", help="with --long: the program as C")
    options = parser.parse_args()
    print(
        f"{platform.machine()}, {options.dtype}, {THREADS} BLAS thread(s), NumPy {np.__version__}"
    )
    if options.floor:
        floor(options.dtype)
    elif options.long:
        long("c" if options.c else "numpy")
    else:
        table(options.dtype, options.quick)


if __name__ == "__main__":
    main()
