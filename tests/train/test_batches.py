"""Batches: each sequence once, beside others of its length, and padded where it is short."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tinygrad_rnn.train import batches, pad


@given(st.lists(st.lists(st.integers(1, 99), min_size=1, max_size=6), min_size=1, max_size=8))
def test_padding_keeps_every_number_in_its_step_and_sequence(sequences: list[list[int]]) -> None:
    padded, lengths = pad(sequences)
    assert padded.shape == (max(map(len, sequences)), len(sequences))
    for b, sequence in enumerate(sequences):
        assert padded[: lengths[b], b].tolist() == sequence
        assert not padded[lengths[b] :, b].any()


@given(st.lists(st.integers(1, 9), min_size=1, max_size=30), st.integers(1, 8), st.integers(0, 99))
def test_batches_hold_each_sequence_once_and_neighbours_in_length(
    lengths: list[int], size: int, seed: int
) -> None:
    cut = [batch.tolist() for batch in batches(lengths, size, np.random.default_rng(seed))]
    assert sorted(i for batch in cut for i in batch) == list(range(len(lengths)))
    assert all(1 <= len(batch) <= size for batch in cut)
    assert sum(len(batch) < size for batch in cut) <= 1
    by_length = sorted([lengths[i] for i in batch] for batch in cut)
    for shorter, longer in pairwise(by_length):
        assert max(shorter) <= min(longer)
    again = [batch.tolist() for batch in batches(lengths, size, np.random.default_rng(seed))]
    assert cut == again


def test_another_seed_shuffles_otherwise() -> None:
    one, other = (
        [batch.tolist() for batch in batches([3] * 20, 4, np.random.default_rng(seed))]
        for seed in (0, 1)
    )
    assert one != other


def test_a_batch_of_less_than_one_sequence_is_refused() -> None:
    with pytest.raises(ValueError, match="batches of 0 sequences; expected 1 or more"):
        list(batches([1, 2], 0))
