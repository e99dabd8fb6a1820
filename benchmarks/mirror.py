"""What it costs to mirror a PyTorch model: its forward pass with and without.

    python benchmarks/mirror.py                  100 steps, hidden size 256
    python benchmarks/mirror.py --steps 1000     longer

Prints seconds; the forward pass alone runs with oneDNN off too, as inside of the block.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import torch

from tinygrad_rnn.torch import mirror


def seconds(run: Callable[[], Any], repeats: int) -> float:
    """The shortest of several."""
    found = []
    for _ in range(repeats):
        start = time.perf_counter()
        run()
        found.append(time.perf_counter() - start)
    return min(found)


def main() -> None:
    """Print a line for each kind of layer."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--hidden", type=int, default=256)
    parser.add_argument("--batch", type=int, default=16)
    given = parser.parse_args()
    torch.set_num_threads(1)
    torch.backends.mkldnn.enabled = False
    xs = torch.randn(given.steps, given.batch, given.hidden)
    print(f"T={given.steps} B={given.batch} H={given.hidden}   forward    mirrored      check")
    for kind in (torch.nn.RNN, torch.nn.LSTM, torch.nn.GRU):
        net = kind(given.hidden, given.hidden)
        forward = seconds(lambda net=net: net(xs), 5)

        def mirrored(net: Any = net) -> Any:
            with mirror(net) as m:
                m_loss = net(xs)[0].pow(2).mean()
            m.loss(m_loss)
            return m

        last = mirrored()
        print(
            f"{kind.__name__:20}{forward:10.4f} s{seconds(mirrored, 3):10.4f} s"
            f"{seconds(last.check, 1):10.4f} s"
        )


if __name__ == "__main__":
    main()
