"""Sentences with slot labels: what is read and refused, how words are numbered, how spans score."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sentences import (
    Sentence,
    SpanScore,
    Vocabulary,
    chunks,
    numbering,
    read_iob,
    span_f1,
    span_scores,
)

LABELS = ["O", "B-x", "I-x", "B-y", "I-y"]
label_lists = st.lists(st.sampled_from(LABELS), max_size=12)

TWO = [Sentence(["fly", "to", "rome"], ["O", "O", "B-to"]), Sentence(["now"], ["B-when"])]


@pytest.mark.parametrize(
    "content",
    [
        b"fly\tO\nto\tO\nrome\tB-to\n\nnow\tB-when\n",
        b"fly\tO\nto\tO\nrome\tB-to\n\nnow\tB-when",
        b"\n\nfly\tO\nto\tO\nrome\tB-to\n\n \n\nnow\tB-when\n\n\n",
        b"fly\tO\r\nto\tO\r\nrome\tB-to\r\n\r\nnow\tB-when\r\n",
        b"\xef\xbb\xbffly\tO\nto\tO\nrome\tB-to\n\nnow\tB-when\n",
    ],
    ids=["plain", "no last newline", "many blank lines", "carriage returns", "byte order mark"],
)
def test_the_same_sentences_are_read_however_the_file_was_saved(
    tmp_path: Path, content: bytes
) -> None:
    file = tmp_path / "some.iob"
    file.write_bytes(content)
    assert read_iob(file) == TWO


@pytest.mark.parametrize(
    ("content", "complaint"),
    [
        (b"", "some.iob: the file holds no sentence"),
        (b"\n \n\r\n", "some.iob: the file holds no sentence"),
        (b"fly\tO\nto O\n", "some.iob, line 2: expected word<TAB>label, found 'to O'"),
        (b"fly\tO\n\nto\n", "some.iob, line 3: expected word<TAB>label, found 'to'"),
        (b"fly\t\n", "some.iob, line 1: expected word<TAB>label"),
        (b"\tO\n", "some.iob, line 1: expected word<TAB>label"),
        (b" \tO\n", "some.iob, line 1: expected word<TAB>label"),
        (b"fly\tO\n\t\n", "some.iob, line 2: expected word<TAB>label"),
        (b"fly\tVB\tO\n", "some.iob, line 1: expected word<TAB>label"),
        (b"fly\tto\n", "some.iob, line 1: expected a label O, B-name or I-name, found 'to'"),
        (b"fly\tB-\n", "some.iob, line 1: expected a label O, B-name or I-name, found 'B-'"),
        (b"fly\tO\nrom\xe9\tB-to\n", "some.iob, line 2: is not UTF-8 text"),
    ],
)
def test_a_file_that_is_not_iob_is_refused_with_its_name_and_line(
    tmp_path: Path, content: bytes, complaint: str
) -> None:
    (tmp_path / "some.iob").write_bytes(content)
    with pytest.raises(ValueError, match=r"some\.iob") as error:
        read_iob(tmp_path / "some.iob")
    assert complaint in str(error.value)
    assert "\n" not in str(error.value)


def test_what_is_not_a_file_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match=r"nowhere\.iob: there is no such file"):
        read_iob(tmp_path / "nowhere.iob")
    with pytest.raises(ValueError, match="cannot be read"):
        read_iob(tmp_path)


def test_numbers_come_in_order_of_appearance_after_the_first() -> None:
    assert numbering([["b", "a"], ["b"]]) == {"b": 0, "a": 1}
    assert numbering([["b", "a"], ["b"]], at_least=2, first=["<unk>"]) == {"<unk>": 0, "b": 1}
    assert numbering([["a", "<unk>"]], first=["<unk>"]) == {"<unk>": 0, "a": 1}


def test_a_vocabulary_in_lower_case_reads_capitals_and_another_does_not() -> None:
    lower, mixed = Vocabulary(["<unk>", "rome", "7"]), Vocabulary(["<unk>", "Rome", "rome"])
    assert lower(["Rome", "ROME", "7", "paris"]) == [1, 1, 2, 0]
    assert mixed(["Rome", "ROME", "rome"]) == [1, 0, 2]
    assert (lower.lower, mixed.lower) == (True, False)


@pytest.mark.parametrize(
    ("labels", "found"),
    [
        ("O O", []),
        ("B-x", [("x", 0, 1)]),
        ("B-x I-x O", [("x", 0, 2)]),
        ("B-x B-x", [("x", 0, 1), ("x", 1, 2)]),
        ("I-x B-x", [("x", 0, 1), ("x", 1, 2)]),
        ("O I-x I-x", [("x", 1, 3)]),  # I- after O begins a span
        ("I-x", [("x", 0, 1)]),  # so does I- at the start of a sentence
        ("B-y I-x", [("x", 1, 2), ("y", 0, 1)]),  # and I- of another name
        ("B-x I-y I-x", [("x", 0, 1), ("x", 2, 3), ("y", 1, 2)]),
        ("B-x O I-x", [("x", 0, 1), ("x", 2, 3)]),
    ],
)
def test_spans_begin_and_end_as_in_conlleval(
    labels: str, found: list[tuple[str, int, int]]
) -> None:
    assert sorted(chunks(labels.split())) == found


def boundaries(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """Spans as conlleval states them: what begins and what ends one, from each pair of labels."""
    padded = ["O", *labels, "O"]
    starts, ends = [], []
    for i in range(1, len(padded)):
        (was, was_name), (tag, name) = (
            (label[0], label[2:]) for label in (padded[i - 1], padded[i])
        )
        if was != "O" and (tag in "BO" or was_name != name):
            ends.append(i - 1)
        if tag == "B" or (tag == "I" and (was == "O" or was_name != name)):
            starts.append((name, i - 1))
    return {(name, first, last) for (name, first), last in zip(starts, ends, strict=True)}


@given(label_lists)
def test_spans_are_those_of_the_boundary_rules(labels: list[str]) -> None:
    assert chunks(labels) == boundaries(labels)


@pytest.mark.parametrize(
    ("right", "tagged", "f1"),
    [
        ("B-x I-x O B-y", "B-x I-x O B-y", 100.0),
        ("B-x I-x O B-y", "B-x O O B-y", 50.0),  # one end is wrong: 1 right of 2 and 2
        ("B-x I-x O B-y", "B-y I-y O B-y", 50.0),  # the name is wrong
        ("B-x I-x O B-y", "I-x I-x O I-y", 100.0),  # I- begins a span as B- does
        ("B-x I-x O B-y", "B-x I-x O O", 200 / 3),  # precision 1, recall 1/2
        ("B-x O O O", "B-x B-x B-x O", 50.0),  # precision 1/3, recall 1
        ("B-x O", "O B-x", 0.0),
        ("O O", "O O", 0.0),
    ],
)
def test_span_f1_by_hand(right: str, tagged: str, f1: float) -> None:
    assert span_f1([right.split()], [tagged.split()]) == pytest.approx(f1)


def test_span_f1_is_the_one_published_with_conlleval() -> None:
    """Its output example (CoNLL-2000): 459 phrases, 539 found, 371 of them right: FB1 74.35."""
    right = [["B-x"]] * 459 + [["O"]] * (539 - 371)
    tagged = [["B-x"]] * 371 + [["O"]] * (459 - 371) + [["B-x"]] * (539 - 371)
    assert round(span_f1(right, tagged), 2) == 74.35


def test_span_f1_counts_over_all_sentences_together() -> None:
    """2 spans right of 3 true and 2 given: 4/5; the mean over the sentences would be 5/6."""
    right = [["B-x", "B-x"], ["B-y"]]
    tagged = [["B-x", "O"], ["B-y"]]
    assert span_f1(right, tagged) == pytest.approx(80.0)


def test_each_name_has_a_score_of_its_own() -> None:
    right, tagged = ["B-x", "I-x", "O", "B-y", "B-x"], ["B-x", "I-x", "B-z", "O", "B-y"]
    assert span_scores([right], [tagged]) == {
        "x": SpanScore(right=2, given=1, hits=1),
        "y": SpanScore(right=1, given=1, hits=0),
        "z": SpanScore(right=0, given=1, hits=0),
    }
    x, y, _ = span_scores([right], [tagged]).values()
    assert (x.precision, x.recall, x.f1) == (100.0, 50.0, pytest.approx(200 / 3))
    assert (y.precision, y.recall, y.f1) == (0.0, 0.0, 0.0)


def test_a_label_that_training_never_saw_costs_its_recall() -> None:
    assert span_f1([["B-new", "B-x"]], [["O", "B-x"]]) == pytest.approx(200 / 3)


@given(st.lists(st.tuples(label_lists, label_lists), max_size=4))
def test_span_f1_is_symmetric_bounded_and_100_only_for_the_same_spans(
    pairs: list[tuple[list[str], list[str]]],
) -> None:
    right = [a[: len(b)] for a, b in pairs]
    tagged = [b[: len(a)] for a, b in pairs]
    f1 = span_f1(right, tagged)
    assert f1 == span_f1(tagged, right)
    assert 0 <= f1 <= 100
    same = [chunks(r) for r in right] == [chunks(t) for t in tagged]
    assert (f1 == 100) == (same and any(chunks(r) for r in right))


def test_span_f1_refuses_sentences_of_different_lengths() -> None:
    with pytest.raises(ValueError, match="sentence 1 has 2 labels, but 1 were given"):
        span_f1([["O"], ["O", "B-x"]], [["O"], ["O"]])
    with pytest.raises(ValueError, match="zip"):
        span_f1([["O"]], [])
