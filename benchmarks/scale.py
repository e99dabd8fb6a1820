"""How far it goes: time and memory a step from 100 to 100,000 steps of an LSTM, and fan-out.

    python benchmarks/scale.py

Batch 1, 8 inputs, 16 hidden units, float64, one BLAS thread. Each length runs in a process of its
own: forward, backward, and dropping the graph. Memory is what the process grows by until the walk
back has ended. PyTorch runs the same equations from primitives.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import argparse
import json
import resource
import subprocess
import sys
import time
from typing import Any

import numpy as np

LENGTHS = [100, 1_000, 10_000, 100_000]
I, H = 8, 16  # noqa: E741


def largest() -> int:
    """Kilobytes that the process has held at its largest (Linux counts in KB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def ours(T: int) -> Any:
    import tinygrad_rnn as tr

    cell, xs = tr.nn.LSTMCell(I, H, rng=0), np.ones((T, 1, I))

    def run() -> tuple[Any, Any]:
        outputs, state = tr.nn.unroll(cell, xs)
        loss = tr.stack(outputs).sum()
        return loss, (outputs, state)

    return run


def pytorch(T: int) -> Any:
    import torch

    torch.set_num_threads(1)
    W_xh, W_hh, b = (
        torch.randn(*shape, dtype=torch.float64).mul_(0.1).requires_grad_()
        for shape in ((I, 4 * H), (H, 4 * H), (4 * H,))
    )
    xs = torch.ones(T, 1, I, dtype=torch.float64)

    def run() -> tuple[Any, Any]:
        h = c = torch.zeros(1, H, dtype=torch.float64)
        outputs = []
        for x in xs:
            i, f, g, o = (x @ W_xh + h @ W_hh + b).chunk(4, -1)
            i, f, g, o = torch.sigmoid(i), torch.sigmoid(f), torch.tanh(g), torch.sigmoid(o)
            c = f * c + i * g
            h = o * torch.tanh(c)
            outputs.append(h)
        return torch.stack(outputs).sum(), (outputs, c)

    return run


def duration(T: int) -> float:
    """Microseconds a step: the median of a few runs, more for short sequences."""
    run = ours(T)
    loss, rest = run()  # warm up
    loss.backward()
    del loss, rest
    times = []
    for _ in range(max(1, 5000 // T)):
        start = time.perf_counter()
        loss, rest = run()
        loss.backward()
        del loss, rest
        times.append(time.perf_counter() - start)
    return 1e6 * float(np.median(times)) / T


def memory(engine: str, T: int) -> float:
    """Kilobytes a step, from a process that has done nothing else."""
    make = {"ours": ours, "PyTorch": pytorch}[engine]
    make(10)()[0].backward()  # loads what is loaded lazily
    run = make(T)
    before = largest()
    loss, rest = run()
    loss.backward()
    del rest
    return (largest() - before) / T


def in_a_process(*arguments: str) -> Any:
    done = subprocess.run(
        [sys.executable, __file__, *arguments], capture_output=True, text=True, check=True
    )
    return json.loads(done.stdout)


def fan_out(T: int = 1000) -> None:
    """h = h*w + h*w doubles the number of paths at every step; time must not."""
    import tinygrad_rnn as tr

    w = tr.Tensor(np.full(4, 0.5), requires_grad=True)
    for length in (T // 4, T // 2, T):
        start = time.perf_counter()
        h = tr.Tensor(np.ones(4), requires_grad=True)
        for _ in range(length):
            h = h * w + h * w
        h.sum().backward()
        seconds = time.perf_counter() - start
        print(f"  {length:5d} times h*w + h*w: {1e6 * seconds / length:6.1f} µs each")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--memory", nargs=2, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.time:
        print(json.dumps(duration(options.time)))
        return
    if options.memory:
        print(json.dumps(memory(options.memory[0], int(options.memory[1]))))
        return
    found = {T: in_a_process("--time", str(T)) for T in LENGTHS}
    print("LSTM, batch 1, 8 inputs, 16 hidden: forward, backward and freeing")
    for T, us in found.items():
        print(
            f"  {T:7d} steps: {us:6.1f} µs a step, {us / found[LENGTHS[0]]:.2f} times the shortest"
        )
    mine = in_a_process("--memory", "ours", "10000")
    try:
        theirs = in_a_process("--memory", "PyTorch", "10000")
    except subprocess.CalledProcessError:
        print(f"  memory: {mine:.1f} KB a step; PyTorch is not installed")
    else:
        print(
            f"  memory: {mine:.1f} KB a step, {mine / theirs:.2f} times PyTorch's {theirs:.1f} KB"
        )
    fan_out()


if __name__ == "__main__":
    main()
