"""Which values of a schedule share one loop over entries, and which are in memory.

What the NumPy text computes in several calls can be one loop in C: neighbours of one shape are
computed together, entry by entry. Slices and transposes need no loop: they are read where they
stand. In memory is what another loop reads, for one step; and for all steps, what is read outside
of the loop over the steps.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np

from ...engine import primitives as p
from ..record import Node
from ..rewrite import is_slice
from ..schedule import Schedule

__all__ = ["Fused", "Place", "Task", "is_basic", "is_entrywise"]

_VIEWS = (p.take, p.transpose, p.broadcast_to, p.reshape)
_JOINS = (p.concatenate, p.stack)


@dataclass(eq=False)
class Task:
    """What is computed for one array: a node, one part of a concatenation, a state's next value.

    A part is `value`, the k-th; the next value of the state `node` is `value`, or zero.
    """

    node: Node
    value: Any = None
    k: int = -1
    turns: bool = False

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the entries that are computed."""
        return self.node.shape if self.k < 0 else np.shape(self.value)

    @property
    def entrywise(self) -> bool:
        """Whether other entries than its own can be computed between its own."""
        return self.k >= 0 or self.turns or is_entrywise(self.node)

    @property
    def reads(self) -> Sequence[Node]:
        """What it is computed from."""
        if self.k < 0 and not self.turns:
            return self.node.nodes
        return [self.value] if isinstance(self.value, Node) else []


class Place(NamedTuple):
    """Where a value is computed.

    The pass (0 forward, 1 backward) and the part of it, as the schedule says; in it a level: odd
    ones are products over all steps at once, even ones loops over the steps, around a list of
    loops over entries; and the number in this list.
    """

    section: tuple[int, str]
    level: int
    number: int


class Fused:
    """A schedule's values in loops.

    Attributes
    ----------
    loops : dict
        By section and level, the list of loops: each is a list of tasks.
    place : dict
        Where each node is computed, the last part of it.
    near : dict
        How often the loop that computes a value reads it.
    memory : dict
        What is in memory: 1 for one step, 2 for all.
    crosses : set
        What the backward pass needs of the forward pass, and the output.
    ends : dict
        The values that are computed into a state's next place, and which state's.
    inline : dict
        What is computed where it is read, and how deep.
    """

    def __init__(self, plan: Schedule) -> None:
        self.plan = plan
        step = plan.step
        self.loops: dict[tuple[int, str], dict[int, list[list[Task]]]] = {}
        self.place: dict[Node, Place] = {}
        self.near: dict[Node, int] = {}
        self.memory: dict[Node, int] = {}
        self.crosses: set[Node] = set()
        self.ends: dict[Node, Node] = {}
        self.inline: dict[Node, int] = {}
        self.forced: set[Node] = set()  # views that are needed in memory all the same
        self.d_x = step.d_inputs[0]
        self._look_through()
        for k, part in enumerate(plan.passes):
            for where, nodes in part.places.items():
                tasks = [task for node in nodes for task in self._tasks(node)]
                computed = {task.node for task in tasks}
                if where == "loop":
                    for state, end in zip(part.carried, part.ends, strict=True):
                        if end in computed and end not in self.ends:
                            self.ends[end] = state
                        else:
                            tasks.append(Task(state, end, turns=True))
                self._arrange((k, where), tasks)
        whole = [n for terms in plan.sums for term in terms for n in term.values]
        for node in [*whole, *([self.d_x] if self.d_x else [])]:
            for base, _ in self.sources(node, ()):
                self._need(base, (1, "sums"))
        self._need(step.output, (1, "sums"))
        for end, state in self.ends.items():
            self.memory[end] = max(self.memory.get(end, 1), self.memory.get(state, 1))
            self.memory[state] = self.memory[end]

    def through(self, node: Node) -> bool:
        """Whether a node is read where its sources stand."""
        return node in self.inline or (_is_view(node) and node not in self.forced)

    def batched(self, x: Any) -> bool:
        """Whether the first axis of a value is that of the sequences."""
        states = self.plan.step.states[0].shape
        return x in self.plan.timed and len(x.shape) > 0 and x.shape[0] == states[0]

    def long_axes(self, x: Node) -> list[int]:
        """The axes whose length is not known to be 1."""
        return [k for k, n in enumerate(x.shape) if n != 1 or (k == 0 and self.batched(x))]

    def keeps_order(self, x: Node) -> bool:
        """Whether a reshape does no more than put in or leave out axes of length 1."""
        before, after = ([y.shape[k] for k in self.long_axes(y)] for y in (x.nodes[0], x))
        return before == after

    def sources(self, x: Any, shape: tuple[int, ...]) -> Iterator[tuple[Node, bool]]:
        """What a read of `x` in a loop over `shape` reads, and whether it reads entry by entry."""
        if isinstance(x, Node) and self.through(x):
            for y in x.nodes:
                for base, same in self.sources(y, x.shape):
                    yield base, same and x.shape == shape and x in self.inline
        elif isinstance(x, Node):
            yield x, x.shape == shape

    def _look_through(self) -> None:
        step = self.plan.step
        section = {
            node: (k, where)
            for k, part in enumerate(self.plan.passes)
            for where, nodes in part.places.items()
            for node in nodes
        }
        asked = [n for terms in self.plan.sums for term in terms for n in term.values]
        asked += [step.output]
        for node in section:
            turned = node.primitive is p.reshape and not self.keeps_order(node)
            if turned or node.primitive is p.matmul or not is_basic(node):
                asked += node.nodes
        self.forced = {n for n in asked if _is_view(n)}
        kept = {*asked, *self.plan.forward.ends, *self.plan.backward.ends, self.d_x}
        for node in reversed(section):
            used = self.plan.users.get(node, [])
            if (
                node in kept
                or not is_entrywise(node)
                or any(section.get(u) != section[node] for u in used)
            ):
                continue
            user = used[0] if len(used) == 1 else None
            depth = self.inline[user] + 1 if user in self.inline else 1 if user else 0
            cut = np.zeros(node.shape, int)
            for u in used:
                if is_slice(u) and len(self.plan.users.get(u, ())) == 1 and u not in kept:
                    cut[u.settings["key"]] += 1
                else:
                    cut[...] += 2
            if (user and user.primitive is p.sum) or (cut.max(initial=0) < 2) or (
                user in self.inline and depth < 8
            ):  # fmt: skip
                self.inline[node] = depth

    def _tasks(self, node: Node) -> list[Task]:
        if self.through(node):
            return []
        if node.primitive in _JOINS:
            return [Task(node, x, k) for k, x in enumerate(node.inputs)]
        return [Task(node)]

    def _arrange(self, section: tuple[int, str], tasks: list[Task]) -> None:
        levels = self.loops.setdefault(section, {})
        for task in tasks:
            do = None if task.turns else task.node.primitive
            at_once = do is p.matmul and section[1] in ("before", "after")
            moves = not task.turns and do in _VIEWS
            found = [
                (base, same and task.entrywise and not moves)
                for x in task.reads for base, same in self.sources(x, task.shape)
            ]  # fmt: skip
            level = number = 0
            for base, same in found:
                at = self.place.get(base)
                if at and at.section == section:
                    later = (at.level + 1, 0) if at.level % 2 else (
                        at.level, at.number + (not same)
                    )  # fmt: skip
                    level, number = max((level, number), later)
            if at_once:
                level, number = level + 1, 0
            loops = levels.setdefault(level, [])
            for number in range(number, len(loops) + 1):  # noqa: B020
                if number == len(loops):
                    loops.append([])
                elif not (task.entrywise and loops[number][0].entrywise) or (
                    task.shape != loops[number][0].shape
                ):
                    continue
                break
            loops[number].append(task)
            here = Place(section, level, number)
            if not task.turns:
                self.place[task.node] = max(here, self.place.get(task.node, here))
                if at_once or not is_entrywise(task.node):
                    self.memory[task.node] = max(self.memory.get(task.node, 1), 1 + at_once)
            for base, same in found:
                if self.place.get(base) == here and same:
                    self.near[base] = self.near.get(base, 0) + 1
                else:
                    self._need(base, section, level)

    def _need(self, base: Node, section: tuple[int, str], level: int = -1) -> None:
        """Note that a value is read in another loop than its own."""
        at = self.place.get(base)
        home = (at.section, at.level) if at else (section, level)
        for k, part in enumerate(self.plan.passes):
            if base in part.carried:
                home = (k, "loop"), 0
        other = home != (section, level) and base in self.plan.timed
        self.memory[base] = max(self.memory.get(base, 1), 1 + other)
        if home[0][0] != section[0]:
            self.crosses.add(base)


def is_entrywise(node: Node) -> bool:
    """Whether each entry is computed alone: from entries at its place, or from looked up ones."""
    do = node.primitive
    return do is not None and (
        do.entrywise or isinstance(do.forward, np.ufunc) or do is p.astype or do in _VIEWS
    )


def is_basic(node: Node) -> bool:
    """Whether a node takes or writes no entries by arrays of numbers."""
    key = node.settings.get("key", ())
    return all(k is None or k is ... or isinstance(k, (int, slice)) for k in key)


def _is_view(node: Node) -> bool:
    return node.primitive in _VIEWS and is_basic(node)
