"""The CRF against the enumeration of all label sequences."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

import tinygrad_rnn as tr
from crf import CRF

L = 3


def score(crf: CRF, own: np.ndarray, labels: tuple[int, ...]) -> float:
    moves = sum(crf.transitions.data[a, b] for a, b in itertools.pairwise(labels))
    ends = crf.start.data[labels[0]] + crf.end.data[labels[-1]]
    return float(sum(own[t, k] for t, k in enumerate(labels)) + moves + ends)


@pytest.mark.parametrize("lengths", [[4, 4], [4, 1], [2, 4]])
def test_loss_and_best_path_are_those_of_all_paths(lengths: list[int]) -> None:
    crf = CRF(L, rng=0)
    for p in crf.parameters():
        p.data = p.data * 10
    rng = np.random.default_rng(1)
    own, labels = rng.standard_normal((4, 2, L)), rng.integers(0, L, (4, 2))
    expected = 0.0
    best = crf.decode(tr.Tensor(own), lengths)
    for b, length in enumerate(lengths):
        paths = list(itertools.product(range(L), repeat=length))
        scores = [score(crf, own[:, b], path) for path in paths]
        expected += np.log(np.exp(scores).sum()) - score(crf, own[:, b], tuple(labels[:length, b]))
        assert tuple(best[:length, b]) == paths[int(np.argmax(scores))]
        assert not best[length:, b].any()
    assert crf.loss(tr.Tensor(own), labels, lengths).item() == pytest.approx(expected, rel=1e-12)


def test_the_gradient_is_the_expected_minus_the_seen_count() -> None:
    """dL/dtransitions[i, j]: how often the model expects i → j, less how often it came."""
    crf = CRF(L, rng=0)
    own = np.random.default_rng(1).standard_normal((4, 1, L))
    labels = np.array([[0], [1], [1], [2]])
    crf.loss(tr.Tensor(own), labels).backward()
    paths = list(itertools.product(range(L), repeat=4))
    weights = np.exp([score(crf, own[:, 0], path) for path in paths])
    weights /= weights.sum()
    expected = np.zeros((L, L))
    for path, weight in zip(paths, weights, strict=True):
        for a, b in itertools.pairwise(path):
            expected[a, b] += weight
    for a, b in itertools.pairwise(labels[:, 0]):
        expected[a, b] -= 1
    np.testing.assert_allclose(crf.transitions.grad, expected, rtol=1e-12, atol=1e-14)


def test_what_stands_past_an_end_and_forbidden_transitions_spoil_nothing() -> None:
    """NaN scores and labels that are none in the padding; a transition that has score -inf."""
    rng = np.random.default_rng(1)
    own, labels = rng.standard_normal((4, 2, L)), rng.integers(1, L, (4, 2))
    results = []
    for padding, label in ((0.0, 0), (np.nan, -7), (np.inf, 99)):
        crf = CRF(L, rng=0)
        moves = crf.transitions.data.copy()
        moves[0, 0] = -np.inf
        crf.transitions.data = moves
        own[2:, 1], labels[2:, 1] = padding, label
        scores = tr.Tensor(own, requires_grad=True)
        loss = crf.loss(scores, labels, [4, 2])
        loss.backward()
        results.append([loss.data, scores.grad, *(p.grad for p in crf.parameters())])
        results[-1].append(crf.decode(scores, [4, 2]))
        assert all(np.isfinite(part).all() for part in results[-1])
    for other in results[1:]:
        for a, b in zip(results[0], other, strict=True):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize(
    ("labels", "lengths", "message"),
    [
        ([[0, 3], [0, 0]], None, "classes from 0 to 3; the scores have 3"),
        ([[0, -1], [0, 0]], None, "classes from -1"),
        ([[0, 0], [0, 0]], [2, 0], "lengths from 0 to 2"),
        ([[0, 0], [0, 0]], [2, 3], "expected 1 to 2"),
        ([0, 0], None, "one class for each row of scores"),
    ],
)
def test_labels_and_lengths_that_do_not_fit(labels: list, lengths: object, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        CRF(L, rng=0).loss(tr.Tensor(np.zeros((2, 2, L))), labels, lengths)
