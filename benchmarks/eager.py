"""The engine against PyTorch and the NumPy autograd frameworks, side by side in one process.

    python benchmarks/eager.py            the whole table
    python benchmarks/eager.py --quick    a smoke test

Work: a cell unrolled from primitives, cross entropy over 10 classes at every step, forward and
backward with the gradients of all parameters; float64, one BLAS thread. The scores of all steps are
computed at once, but for "lstm, loss by step", where each step has its own readout and loss, as
code has it that looks at a step at a time. All contestants must agree on the loss and every
gradient to 1e-9 before a time is taken. Runs are interleaved and medians compared, so that what
else the machine does falls on all alike.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import importlib
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import handwritten
import numpy as np

import tinygrad_rnn as tr
from tinygrad_rnn.engine.backprop import walk

SIZES = [(20, 1, 8, 16), (50, 16, 32, 64), (100, 32, 64, 128), (200, 64, 128, 256)]
CLASSES = 10
BY_STEP = "lstm, loss by step"
Result = tuple[float, dict[str, np.ndarray]]
Run = Callable[[], Result]


# --- the equations, once for all frameworks ------------------------------------------------------


def unrolled(cell: str, P: Any, xs: Any, h: Any, c: Any, m: Any) -> list[Any]:
    """Every h of the sequence; `m` has the framework's sigmoid, tanh and split."""
    cell, hs = cell.split(",")[0], []
    for x in xs:
        if cell == "elman":
            h = m.tanh(x @ P["W_xh"] + h @ P["W_hh"] + P["b"])
        elif cell == "lstm":
            i, f, g, o = m.split(x @ P["W_xh"] + h @ P["W_hh"] + P["b"], 4)
            i, f, g, o = m.sigmoid(i), m.sigmoid(f), m.tanh(g), m.sigmoid(o)
            c = f * c + i * g
            h = o * m.tanh(c)
        else:
            r, z, n = m.split(x @ P["W_xh"] + P["b"], 3)
            r_h, z_h, n_h = m.split(h @ P["W_hh"], 3)
            r, z = m.sigmoid(r + r_h), m.sigmoid(z + z_h)
            n = m.tanh(n + r * (n_h + P["b_hn"]))
            h = (1.0 - z) * n + z * h
        hs.append(h)
    return hs


class Module:
    """A framework's names for what the equations need."""

    def __init__(self, sigmoid: Any, tanh: Any, split: Any) -> None:
        self.sigmoid, self.tanh, self.split = sigmoid, tanh, split


# --- contestants: each returns a function that does the whole work once --------------------------


def recorder(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> tuple[Any, Callable[[], Any]]:
    """The parameters, and a function that records the loss."""
    parameters = {k: tr.Tensor(v, requires_grad=True) for k, v in P.items()}
    B, H = X.shape[1], len(P["W_hh"])
    xs, zeros = [tr.Tensor(x) for x in X], tr.Tensor(np.zeros((B, H)))
    module = Module(tr.sigmoid, tr.tanh, lambda x, n: tr.split(x, n, axis=-1))

    def record() -> Any:
        hs = unrolled(cell, parameters, xs, zeros, zeros, module)
        V, d = parameters["V"], parameters["d"]
        if cell == BY_STEP:
            return sum(tr.nn.cross_entropy(h @ V + d, y) for h, y in zip(hs, Y, strict=True))
        return tr.nn.cross_entropy(tr.stack(hs) @ V + d, Y)

    return parameters, record


def ours(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> Run:
    parameters, record = recorder(cell, P, X, Y)

    def run() -> Result:
        loss = record()
        for p in parameters.values():
            p.grad = None
        loss.backward()
        return loss.item(), {k: p.grad for k, p in parameters.items()}

    return run


def calls_alone(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> Run:
    """The very NumPy calls that the engine makes, from a list: no record, no walk.

    What an engine in Python could reach at best if it cost nothing itself.
    """
    parameters, record = recorder(cell, P, X, Y)
    loss = record()
    forward, backward, sums, reached = [], [], [], set()
    for tensor, g in walk(loss, np.ones(())):
        made = tensor.primitive
        if made is None:
            continue
        forward.append((made.forward, tensor.arrays, dict(tensor.kwargs)))
        for i, x in enumerate(tensor.inputs):
            if isinstance(x, tr.Tensor) and x.requires_grad:
                if not made.joint or i == 0:
                    rule = made.rules[0 if made.joint else i]
                    backward.append((rule, g, tensor.data, tensor.arrays, dict(tensor.kwargs)))
                if x.number in reached:
                    sums.append(np.zeros(x.shape))
                reached.add(x.number)
    forward.reverse()
    loss.backward()
    result = loss.item(), {k: p.grad for k, p in parameters.items()}

    def run() -> Result:
        for function, arrays, kwargs in forward:
            function(*arrays, **kwargs)
        for rule, g, y, arrays, kwargs in backward:
            rule(g, y, *arrays, **kwargs)
        for total in sums:
            total += total
        return result

    return run


def by_hand(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> Run:
    return lambda: handwritten.CELLS[cell.split(",")[0]](P, X, Y)


def _torch(cell: str, P: Any, X: np.ndarray, Y: np.ndarray, kind: str) -> Run:
    import torch

    torch.set_num_threads(1)
    H = len(P["W_hh"])
    x, y = torch.tensor(X), torch.tensor(Y)
    xs, zeros = list(x), torch.zeros(X.shape[1], H, dtype=torch.float64)
    parameters = {k: torch.tensor(v, requires_grad=True) for k, v in P.items()}
    module = Module(torch.sigmoid, torch.tanh, lambda x, n: x.chunk(n, -1))
    net: Any = None
    if kind != "primitives":
        suffix = "Cell" if kind == "cells" else ""
        name = {"elman": "RNN", "lstm": "LSTM", "gru": "GRU"}[cell.split(",")[0]] + suffix
        net = getattr(torch.nn, name)(X.shape[2], H, dtype=torch.float64)
        w_xh, w_hh, b_x, b_h = net.parameters()
        with torch.no_grad():
            w_xh.copy_(parameters["W_xh"].T)
            w_hh.copy_(parameters["W_hh"].T)
            b_x.copy_(parameters["b"])
            b_h.zero_()
            if cell == "gru":
                b_h[2 * H :] = parameters["b_hn"]
        leaves = [*net.parameters(), parameters["V"], parameters["d"]]
    else:
        leaves = list(parameters.values())

    def states() -> Any:
        if kind == "primitives":
            return unrolled(cell, parameters, xs, zeros, zeros, module)
        if kind == "fused":
            return net(x)[0]
        hs, h, c = [], zeros, zeros
        for x_t in xs:
            if cell.startswith("lstm"):
                h, c = net(x_t, (h, c))
            else:
                h = net(x_t, h)
            hs.append(h)
        return hs

    def run() -> Result:
        for p in leaves:
            p.grad = None
        hs, V, d = states(), parameters["V"], parameters["d"]
        cross_entropy = torch.nn.functional.cross_entropy
        if cell == BY_STEP:
            loss = sum(
                cross_entropy(h @ V + d, y_t, reduction="sum") for h, y_t in zip(hs, y, strict=True)
            )
        else:
            hs = torch.stack(hs) if isinstance(hs, list) else hs
            logits = (hs @ V + d).reshape(-1, CLASSES)
            loss = cross_entropy(logits, y.reshape(-1), reduction="sum")
        loss.backward()
        found = {k: p.grad for k, p in parameters.items()}
        if net is not None:
            found |= {"W_xh": w_xh.grad.T, "W_hh": w_hh.grad.T, "b": b_x.grad}
            if cell == "gru":
                found["b_hn"] = b_h.grad[2 * H :]
        return loss.item(), {k: g.numpy() for k, g in found.items()}

    return run


def torch_primitives(*work: Any) -> Run:
    return _torch(*work, "primitives")


def torch_cells(*work: Any) -> Run:
    return _torch(*work, "cells")


def torch_fused(*work: Any) -> Run:
    return _torch(*work, "fused")


def autograd(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> Run:
    import autograd.numpy as anp
    from autograd import value_and_grad

    zeros = np.zeros((X.shape[1], len(P["W_hh"])))
    rows, y = np.arange(Y.size), Y.ravel()
    module = Module(
        lambda x: 1.0 / (1.0 + anp.exp(-x)), anp.tanh, lambda x, n: anp.split(x, n, axis=-1)
    )

    def loss(parameters: Any) -> Any:
        hs = anp.array(unrolled(cell, parameters, X, zeros, zeros, module))
        logits = (hs @ parameters["V"] + parameters["d"]).reshape(-1, CLASSES)
        shifted = logits - anp.max(logits, axis=1, keepdims=True)
        return anp.sum(anp.log(anp.sum(anp.exp(shifted), axis=1)) - shifted[rows, y])

    both = value_and_grad(loss)

    def run() -> Result:
        value, grads = both(P)
        return float(value), grads

    return run


def mygrad(cell: str, P: Any, X: np.ndarray, Y: np.ndarray) -> Run:
    import mygrad as mg

    B, H = X.shape[1], len(P["W_hh"])
    parameters = {k: mg.tensor(v) for k, v in P.items()}
    zeros = np.zeros((B, H))

    def split(x: Any, n: int) -> list[Any]:
        return [x[:, k * H : (k + 1) * H] for k in range(n)]

    module = Module(mg.nnet.sigmoid, mg.tanh, split)

    def run() -> Result:
        for p in parameters.values():
            p.null_grad()
        hs = mg.stack(unrolled(cell, parameters, X, zeros, zeros, module))
        logits = (hs @ parameters["V"] + parameters["d"]).reshape(-1, CLASSES)
        loss = mg.nnet.softmax_crossentropy(logits, Y.ravel()) * Y.size
        loss.backward()
        return loss.item(), {k: p.grad for k, p in parameters.items()}

    return run


CONTESTANTS: dict[str, tuple[Callable[..., Run], str]] = {
    "ours": (ours, "numpy"),
    "its NumPy calls alone": (calls_alone, "numpy"),
    "NumPy by hand": (by_hand, "numpy"),
    "PyTorch, same equations": (torch_primitives, "torch"),
    "PyTorch, cells": (torch_cells, "torch"),
    "PyTorch, fused": (torch_fused, "torch"),
    "HIPS autograd": (autograd, "autograd"),
    "MyGrad": (mygrad, "mygrad"),
}


# --- timing --------------------------------------------------------------------------------------


def installed() -> Iterator[str]:
    for name, (_, package) in CONTESTANTS.items():
        try:
            importlib.import_module(package)
        except ImportError:
            print(f"{name}: skipped, {package} is not installed")
        else:
            yield name


def agree(cell: str, runs: dict[str, Run]) -> None:
    """All losses and gradients are the same to 1e-9, or there is nothing to compare."""
    expected_loss, expected = runs["NumPy by hand"]()
    for name, run in runs.items():
        loss, grads = run()
        assert abs(loss - expected_loss) <= 1e-9 * abs(expected_loss), (cell, name)
        for key, g in expected.items():
            error = np.abs(np.asarray(grads[key]) - g).max() / np.abs(g).max()
            assert error < 1e-9, (cell, name, key, error)


def medians(runs: dict[str, Callable[[], Any]], seconds: float) -> dict[str, float]:
    """Interleaved: every contestant once, again and again, for about so long."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times["ours"]) < 5:
        for name, run in runs.items():
            start = time.perf_counter()
            run()
            times[name].append(time.perf_counter() - start)
    return {name: statistics.median(found) for name, found in times.items()}


def chain(names: list[str]) -> dict[str, Callable[[], Any]]:
    """10,000 times tanh(x * w) on four numbers."""
    start, weight = np.ones(4), np.full(4, 0.9)
    runs: dict[str, Callable[[], Any]] = {}
    w = tr.Tensor(weight, requires_grad=True)

    def run_ours() -> Any:
        x = tr.Tensor(start)
        for _ in range(10_000):
            x = tr.tanh(x * w)
        w.grad = None
        x.sum().backward()
        return w.grad

    runs["ours"] = run_ours
    if "PyTorch, same equations" in names:
        import torch

        v = torch.tensor(weight, requires_grad=True)

        def run_torch() -> Any:
            x = torch.tensor(start)
            for _ in range(10_000):
                x = torch.tanh(x * v)
            v.grad = None
            x.sum().backward()
            return v.grad.numpy()

        runs["PyTorch, same equations"] = run_torch
    if "HIPS autograd" in names:
        import autograd.numpy as anp
        from autograd import grad

        def last(u: Any) -> Any:
            x = start
            for _ in range(10_000):
                x = anp.tanh(x * u)
            return anp.sum(x)

        runs["HIPS autograd"] = lambda: grad(last)(weight)
    for name, run in runs.items():
        assert np.allclose(run(), run_ours(), rtol=1e-9, atol=1e-300), name
    return runs


def show(title: str, found: dict[str, float]) -> None:
    print(f"\n{title}")
    for name, seconds in found.items():
        ratio = found["ours"] / seconds
        print(f"  {name:26s} {1e3 * seconds:10.2f} ms   ours is {ratio:5.2f} times that")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smallest size, half a second")
    parser.add_argument("--cells", nargs="+", default=["elman", "lstm", "gru", BY_STEP])
    parser.add_argument("--seconds", type=float, default=12.0, help="for each cell and size")
    options = parser.parse_args()
    sizes, seconds = (SIZES[:1], 0.5) if options.quick else (SIZES, options.seconds)
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}, ",
        end="",
    )
    print(f"NumPy {np.__version__}, one BLAS thread, float64")
    names = list(installed())
    for cell in options.cells:
        for size in sizes:
            T, B, I, H = size  # noqa: E741
            rng = np.random.default_rng(0)
            P = handwritten.parameters(cell.split(",")[0], I, H, CLASSES, rng)
            X, Y = rng.standard_normal((T, B, I)), rng.integers(0, CLASSES, (T, B))
            at_once = ("PyTorch, fused", "HIPS autograd", "MyGrad")
            runs = {
                name: CONTESTANTS[name][0](cell, P, X, Y)
                for name in names
                if cell != BY_STEP or name not in at_once
            }
            agree(cell, runs)
            show(f"{cell}, (T, B, I, H) = {size}", medians(runs, seconds))
    show("chain of 10,000 tanh(x * w), shape (4,)", medians(chain(names), seconds))


if __name__ == "__main__":
    main()
