"""Derived programs against backpropagation through time by hand and PyTorch's fused layers.

    python benchmarks/derived.py            the whole table
    python benchmarks/derived.py --quick    a smoke test

Work: LSTM, GRU and Elman over the sizes (T, B, I, H) of eager.py, cross entropy over 10 classes
summed over all steps, forward and backward with the gradients of all parameters; one BLAS thread
unless OPENBLAS_NUM_THREADS says otherwise. All contestants must agree on the loss and the gradients
before a time is taken. Runs are interleaved and medians compared.

"derived" reads out with the engine's Linear and cross_entropy. "recurrence" is the same program
with the readout of handwritten.py on top, so that it differs from "hand" in the recurrence alone.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import platform
import statistics
import sys
import time
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


def derived(kind: str, P: Any, X: Any, Y: Any) -> Run:
    cell = CELLS[kind](X.shape[-1], len(P["W_hh"]), dtype=X.dtype)
    readout = tr.nn.Linear(len(P["W_hh"]), CLASSES, dtype=X.dtype)
    readout.W.data, readout.b.data = P["V"].copy(), P["d"].copy()
    tensors = cell.named_parameters() | {"V": readout.W, "d": readout.b}
    for name, p in cell.named_parameters().items():
        p.data = P[name].copy()
    program = tr.derive(cell)

    def run() -> tuple[float, dict[str, Any]]:
        for p in tensors.values():
            p.grad = None
        outputs, _ = program(X)
        loss = tr.nn.cross_entropy(readout(outputs), Y)
        loss.backward()
        return loss.item(), {name: p.grad for name, p in tensors.items()}

    return run


def recurrence(kind: str, P: Any, X: Any, Y: Any) -> Run:
    cell = CELLS[kind](X.shape[-1], len(P["W_hh"]), dtype=X.dtype)
    for name, p in cell.named_parameters().items():
        p.data = P[name].copy()
    program = tr.derive(cell)

    def run() -> tuple[float, dict[str, Any]]:
        for p in cell.parameters():
            p.grad = None
        outputs, _ = program(X)
        loss, d_outputs, gradients = handwritten.readout(P, outputs.data, Y)
        outputs.backward(d_outputs)
        return loss, gradients | {name: p.grad for name, p in cell.named_parameters().items()}

    return run


def fused(kind: str, P: Any, X: Any, Y: Any) -> Run | None:
    try:
        import torch
    except ImportError:
        return None
    torch.set_num_threads(int(os.environ["OPENBLAS_NUM_THREADS"]))
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


def measure(kind: str, size: tuple[int, ...], dtype: str, rounds: int) -> dict[str, float]:
    """Median seconds of each contestant, runs interleaved."""
    T, B, I, H = size  # noqa: E741
    rng = np.random.default_rng(0)
    P = handwritten.parameters(kind, I, H, CLASSES, rng)
    P = {name: p.astype(dtype) for name, p in P.items()}
    X = rng.standard_normal((T, B, I)).astype(dtype)
    Y = rng.integers(CLASSES, size=(T, B))
    runs: dict[str, Run | None] = {
        "derived": derived(kind, P, X, Y),
        "recurrence": recurrence(kind, P, X, Y),
        "hand": (lambda: handwritten.CELLS[kind](P, X, Y)) if dtype == "float64" else None,
        "torch": fused(kind, P, X, Y),
    }
    runs = {name: run for name, run in runs.items() if run}
    loss, gradients = runs["derived"]()
    tolerance = 1e-9 if dtype == "float64" else 1e-3
    for name, run in runs.items():
        other, theirs = run()
        np.testing.assert_allclose(loss, other, rtol=tolerance, err_msg=name)
        for p, g in theirs.items():
            scale = abs(g).max()
            np.testing.assert_allclose(gradients[p], g, atol=tolerance * scale, err_msg=p)
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(seconds) for name, seconds in times.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--quick", action="store_true", help="the smallest size, three rounds")
    parser.add_argument("--dtype", choices=["float64", "float32"], default="float64")
    options = parser.parse_args()
    threads = os.environ["OPENBLAS_NUM_THREADS"]
    print(
        f"{platform.machine()}, {options.dtype}, {threads} BLAS thread(s), NumPy {np.__version__}"
    )
    print("ratios below 1: ours is faster")
    for kind in CELLS:
        for size in SIZES[: 1 if options.quick else None]:
            rounds = 3 if options.quick else max(5, min(300, 2_000_000 // (size[0] * size[1] ** 2)))
            found = measure(kind, size, options.dtype, rounds)
            line = f"{kind:6} {size!s:20} derived {found['derived'] * 1e3:8.2f} ms"
            if "hand" in found:
                line += f"  recurrence/hand {found['recurrence'] / found['hand']:5.2f}"
                line += f"  derived/hand {found['derived'] / found['hand']:5.2f}"
            if "torch" in found:
                line += f"  derived/torch {found['derived'] / found['torch']:5.2f}"
            print(line, flush=True)


if __name__ == "__main__":
    main()
