"""Sweeps keep order and survive failed runs; gradients in shards are those of the whole batch."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import Executor, ProcessPoolExecutor, ThreadPoolExecutor
from multiprocessing import get_context
from threading import Barrier
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr


def inverse(x: float) -> float:
    return 1 / x


def loss(net: Any, batch: Any) -> tr.Tensor:
    xs, ys = batch
    outputs, _ = net(xs)
    return ((outputs - ys) * (outputs - ys)).sum()


@pytest.fixture(scope="module", params=["here", "processes", "dask"])
def executor(request: Any) -> Iterator[Executor | None]:
    if request.param == "here":
        yield None
    elif request.param == "processes":
        with ProcessPoolExecutor(2, mp_context=get_context("spawn")) as pool:
            yield pool
    else:
        distributed = pytest.importorskip("distributed")
        with (
            distributed.LocalCluster(
                n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
            ) as cluster,
            distributed.Client(cluster) as client,
        ):
            yield client.get_executor()


def test_results_in_order_and_a_failure_with_its_configuration(
    executor: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    first, failed, last = tr.train.sweep(inverse, [2.0, 0.0, 4.0], executor)
    assert (first, last) == (0.5, 0.25)
    assert failed.configuration == 0.0
    assert isinstance(failed.error, ZeroDivisionError)
    assert capsys.readouterr().err.endswith("3 of 3 runs\n")


def test_shards_add_up_to_the_whole_batch(executor: Any) -> None:
    rng = np.random.default_rng(0)
    program = tr.derive(tr.nn.LSTMCell(3, 4, rng=0))
    xs, ys = rng.standard_normal((5, 8, 3)), rng.standard_normal((5, 8, 4))
    shards = [(xs[:, k : k + 3], ys[:, k : k + 3]) for k in range(0, 8, 3)]
    found = tr.train.sharded_gradients(loss, program, shards, executor)
    assert all(p.grad is None for p in program.parameters())
    loss(program, (xs, ys)).backward()
    for name, p in program.named_parameters().items():
        np.testing.assert_allclose(found[name], p.grad, rtol=1e-12, atol=1e-12)


def test_threads_share_no_gradient() -> None:
    """Shards that overlap in time, with a gradient of the user's standing in the parameters."""
    cell, started = tr.nn.ElmanCell(3, 4, rng=0), Barrier(4)
    unused = tr.nn.Linear(2, 2, rng=0)
    net = tr.nn.Stacked(cell)
    net.unused = unused  # type: ignore[attr-defined]
    mine = np.ones((4, 4))
    cell.W_hh.grad = mine

    def run(xs: Any) -> tuple[tr.Tensor, Any]:
        outputs, state = tr.nn.unroll(cell, xs)
        return tr.stack(outputs), state

    def slow(net: Any, batch: Any) -> tr.Tensor:
        y = loss(run, batch)
        started.wait()
        return y

    rng = np.random.default_rng(0)
    shards = [(rng.standard_normal((9, 2, 3)), 0.5) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        found = tr.train.sharded_gradients(slow, net, shards, pool)
    np.testing.assert_array_equal(cell.W_hh.grad, mine)
    cell.W_hh.grad = None
    for shard in shards:
        loss(run, shard).backward()
    for name, p in net.named_parameters().items():
        expected = 0.0 if p.grad is None else p.grad
        np.testing.assert_allclose(found[name], expected, rtol=1e-12, err_msg=name)


def test_a_failed_shard_is_named() -> None:
    program = tr.derive(tr.nn.LSTMCell(3, 4, rng=0))
    good = (np.ones((5, 2, 3)), 0.0)
    with pytest.raises(RuntimeError, match="shard 1"):
        tr.train.sharded_gradients(loss, program, [good, (np.ones((5, 2, 9)), 0.0)])
