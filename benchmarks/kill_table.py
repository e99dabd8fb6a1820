"""Which ways of checking a gradient catch which mistakes, and who names the culprit.

    python benchmarks/kill_table.py                 the whole table, and 1,000 right programs
    python benchmarks/kill_table.py --programs 20   a quick look

Every mistake of `tests.check.catalogue` goes through our check and through those of PyTorch
(`torch.autograd.gradcheck`, slow and fast), JAX (`jax.test_util.check_grads`), HIPS autograd
(`autograd.test_util.check_grads`) and a student's (all-ones cotangent, one random entry of each
input, central difference, one per cent). The peers are handed the same forward function and the
same wrong gradient, parameters included, as an operation of their own kind, with their default
tolerances. A peer that is not installed is left out. Caught is whatever fails or raises; so every
net is checked without its mistake as well, and what fails there is a false alarm. To a peer the net
is one operation, so it could not name ours. An operation counts as named if the message says it
with its input, as in "tanh, input 0". What is drawn at random starts from a fixed seed.
"""

from __future__ import annotations

import os

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
os.environ.setdefault("JAX_PLATFORMS", "cpu")

import argparse
import random
import re
import sys
import time
import warnings
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
import tinygrad_rnn as tr
from tests.check.catalogue import MISTAKES
from tests.engine.test_programs import OPERATIONS, arrays, run
from tinygrad_rnn.check.subject import subject

Pair = tuple[Callable[..., Any], Callable[..., Any], list[np.ndarray]]
Outcome = tuple[bool, str]  # whether it failed, and what it said
Check = Callable[[tuple[Any, ...], int], Outcome]


def as_pair(made: tuple[Any, ...], order: int) -> Pair:
    """The function as ``f(*xs) -> vector`` and its gradient as ``pull(u, *xs) -> gradients``."""
    if len(made) == 3:
        f, df, (named,) = made
        names = list(named)

        def by_name(function: Any, xs: Any) -> Any:
            return function(dict(zip(names, map(np.array, xs), strict=True)))

        return (
            lambda *xs: np.atleast_1d(by_name(f, xs)),
            lambda u, *xs: [u[0] * by_name(df, xs)[name] for name in names],
            list(named.values()),
        )
    function = subject(made[0], made[1])
    if order == 2:
        rng = np.random.default_rng(0)
        function = function.gradient([rng.normal(size=out.shape) for out in function.call()])

    def forward(*xs: Any) -> Any:
        with function.at(xs):
            return np.concatenate([np.ravel(out.data) for out in function.call()])

    def pull(u: Any, *xs: Any) -> Any:
        with function.at(xs):
            found = function.call()
            ends = np.cumsum([out.size for out in found])[:-1]
            parts = np.split(np.asarray(u), ends)
            total: Any = 0.0
            for out, part in zip(found, parts, strict=True):
                total = total + (out * part.reshape(out.shape)).sum()
            return [g.data for g in _grads(total, leaves)]

    leaves = list(function.leaves.values())
    return forward, pull, [leaf.data for leaf in leaves]


def _grads(total: Any, leaves: list[Any]) -> list[Any]:
    zero = sum((leaf * 0.0).sum() for leaf in leaves)  # so that it depends on all of them
    return list(tr.grad(total + zero, leaves))


def by_torch(fast: bool) -> Callable[[Pair], Outcome]:
    import torch

    class Operation(torch.autograd.Function):
        pair: Any = None

        @staticmethod
        def forward(ctx: Any, *xs: Any) -> Any:
            ctx.save_for_backward(*xs)
            return torch.tensor(Operation.pair[0](*(x.detach().numpy() for x in xs)))

        @staticmethod
        def backward(ctx: Any, u: Any) -> Any:
            xs = [x.numpy() for x in ctx.saved_tensors]
            return tuple(torch.tensor(np.array(g)) for g in Operation.pair[1](u.numpy(), *xs))

    def check(pair: Pair) -> Outcome:
        Operation.pair = pair
        xs = [torch.tensor(np.array(x), requires_grad=True) for x in pair[2]]
        return caught(lambda: torch.autograd.gradcheck(Operation.apply, xs, fast_mode=fast))

    return check


def by_jax() -> Callable[[Pair], Outcome]:
    import jax

    jax.config.update("jax_enable_x64", True)
    from jax.test_util import check_grads

    def check(pair: Pair) -> Outcome:
        forward, pull, xs = pair
        out = jax.ShapeDtypeStruct(forward(*xs).shape, np.float64)
        shapes = tuple(jax.ShapeDtypeStruct(x.shape, np.float64) for x in xs)

        def called(*xs: Any) -> Any:
            return forward(*map(np.asarray, xs))

        def pulled(u: Any, *xs: Any) -> Any:
            return tuple(np.asarray(g) for g in pull(np.asarray(u), *map(np.asarray, xs)))

        @jax.custom_vjp
        def f(*xs: Any) -> Any:
            return jax.pure_callback(called, out, *xs)

        f.defvjp(lambda *xs: (f(*xs), xs), lambda xs, u: jax.pure_callback(pulled, shapes, u, *xs))
        return caught(lambda: check_grads(f, tuple(xs), order=1, modes=["rev"]))

    return check


def by_autograd() -> Callable[[Pair], Outcome]:
    from autograd.extend import defvjp_argnums, primitive
    from autograd.test_util import check_grads

    np.random.seed(0)  # it draws its directions from there

    def check(pair: Pair) -> Outcome:
        forward, pull, xs = pair
        f = primitive(forward)
        defvjp_argnums(
            f, lambda argnums, ans, xs, kwargs: lambda u: [pull(u, *xs)[i] for i in argnums]
        )
        every = tuple(range(len(xs)))
        return caught(lambda: check_grads(f, every, modes=["rev"], order=1)(*xs))

    return check


def by_student() -> Callable[[Pair], Outcome]:
    rng = np.random.default_rng(0)

    def check(pair: Pair) -> Outcome:
        forward, pull, xs = pair
        gradients = pull(np.ones(forward(*xs).shape), *xs)

        def compare() -> bool:
            for which, (x, g) in enumerate(zip(xs, gradients, strict=True)):
                index = tuple(rng.integers(n) for n in x.shape)
                ends = []
                for sign in (1, -1):
                    moved = [np.array(x) for x in xs]
                    moved[which][index] += sign * 1e-6
                    ends.append(forward(*moved).sum())
                numeric = (ends[0] - ends[1]) / 2e-6
                if not np.allclose(g[index], numeric, rtol=1e-2, atol=1e-2):
                    return False
            return True

        return caught(compare)

    return check


def caught(check: Callable[[], Any]) -> Outcome:
    try:
        passed = check()
    except Exception as error:  # whatever a checker raises, it has noticed
        return True, str(error)
    return passed is False, ""


def ours(made: tuple[Any, ...], order: int) -> Outcome:
    if len(made) == 3:
        report = tr.check.check_gradients(
            made[0], made[1], *made[2], time=["xs"], raise_exception=False
        )
    else:
        report = tr.check.gradcheck(made[0], *made[1], order=order, raise_exception=False)
    return not report, str(report)


def random_program(rng: random.Random) -> list[Any]:
    program = []
    for k in range(rng.randint(1, 7)):
        name = rng.choice(sorted(OPERATIONS))
        reads = tuple(rng.randint(0, k + 1) for _ in range(OPERATIONS[name][0]))
        program.append((name, reads))
    return program


def installed() -> dict[str, Check]:
    """Ours and those of the peers that are here, each as ``check(made, order)``."""
    checks: dict[str, Check] = {"ours": ours}
    for name, make in (
        ("torch slow", lambda: by_torch(fast=False)),
        ("torch fast", lambda: by_torch(fast=True)),
        ("jax", by_jax),
        ("autograd", by_autograd),
        ("student", by_student),
    ):
        try:
            peer = make()
        except ImportError as missing:
            print(f"{name} is left out: {missing}")
        else:
            checks[name] = lambda made, order, peer=peer: peer(as_pair(made, order))
    return checks


def line(title: str, cells: Iterable[Any]) -> None:
    print(f"{title:<52}" + "".join(f"{cell:>12}" for cell in cells), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--programs", type=int, default=1000, help="right programs to check")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    checks = installed()
    line("mistake", checks)
    caught_by, op_by, step_by = (dict.fromkeys(checks, 0) for _ in range(3))
    seconds = dict.fromkeys(checks, 0.0)
    for mistake in MISTAKES:
        cells = []
        for name, check in checks.items():
            begun = time.perf_counter()
            failed, said = check(mistake.make(), mistake.order)
            seconds[name] += time.perf_counter() - begun
            with_op = failed and mistake.op and re.search(rf"\b{mistake.op}(, input|:)", said)
            with_step = failed and mistake.step is not None and f"t={mistake.step}" in said
            caught_by[name] += failed
            op_by[name] += bool(with_op)
            step_by[name] += with_step
            cells.append(
                " + ".join(w for w, b in (("op", with_op), ("step", with_step)) if b)
                or ("caught" if failed else "MISSED")
            )
        line(mistake.name, cells)
    right = dict.fromkeys((mistake.right, mistake.order) for mistake in MISTAKES)
    nets = [(make(), order) for make, order in right]
    programs = []
    rng = random.Random(0)
    for seed in range(options.programs):
        program = random_program(rng)
        f = lambda a, b, p=program: run(tr, p, [a, b]) + 0.0 * (a + b)  # noqa: E731
        programs.append(((f, arrays(seed)), 1))
    for title, counts in (
        (f"caught, of {len(MISTAKES)}", caught_by),
        (f"names the operation, of {sum(m.op is not None for m in MISTAKES)}", op_by),
        (f"names the step, of {sum(m.step is not None for m in MISTAKES)}", step_by),
    ):
        line(title, counts.values())
    line("seconds", (f"{spent:.1f}" for spent in seconds.values()))
    for title, cases in (
        (f"false alarms, of these {len(nets)} nets without mistake", nets),
        (f"false alarms, of {len(programs)} random right programs", programs),
    ):
        line(title, (sum(check(*case)[0] for case in cases) for check in checks.values()))


if __name__ == "__main__":
    main()
