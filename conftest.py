"""Examples in docstrings that need an extra are skipped where it is not installed."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

collect_ignore = [] if find_spec("torch") else ["tinygrad_rnn/torch"]

NEEDS = {"tinygrad_rnn.train.checkpoints": "safetensors", "viz.plots": "matplotlib"}


@pytest.fixture(autouse=True)
def _skip_without_its_extra(request: pytest.FixtureRequest) -> None:
    example = getattr(request.node, "dtest", None)
    if example is not None and example.globs["__name__"] in NEEDS:
        pytest.importorskip(NEEDS[example.globs["__name__"]])
