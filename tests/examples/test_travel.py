"""The travel corpus: what is committed is what its grammar writes, and it is a fair test."""

from __future__ import annotations

import runpy
from pathlib import Path

import pytest

from sentences import Sentence, chunks, read_iob

DATA = Path(__file__).parents[2] / "examples" / "data"
DECIDING = {
    "destination": {"arrive", "arriving", "arrives", "land", "to", "reach"},
    "departure": {"leave", "leaving", "leaves", "depart", "from"},
}


@pytest.fixture(scope="module")
def split() -> tuple[list[Sentence], list[Sentence]]:
    return read_iob(DATA / "train.iob"), read_iob(DATA / "test.iob")


def test_the_grammar_writes_the_files_again() -> None:
    corpus = runpy.run_path(str(DATA / "travel.py"))["corpus"]
    written = {file.name: file.read_bytes().replace(b"\r\n", b"\n") for file in DATA.glob("*.iob")}
    assert {name: text.encode() for name, text in corpus().items()} == written


def test_every_sentence_is_distinct_and_none_of_the_test_is_in_train(
    split: tuple[list[Sentence], list[Sentence]],
) -> None:
    everything = [tuple(s.words) for part in split for s in part]
    assert len(everything) >= 300
    assert len(set(everything)) == len(everything)
    assert all(split)


def test_the_same_city_fills_both_slots_and_an_earlier_word_decides(
    split: tuple[list[Sentence], list[Sentence]],
) -> None:
    cities: dict[str, set[str]] = {"destination": set(), "departure": set()}
    far = 0
    for sentence in split[0]:
        for name, first, last in chunks(sentence.labels):
            if name not in cities:
                continue
            cities[name].add(" ".join(sentence.words[first:last]))
            before = [i for i, word in enumerate(sentence.words[:first]) if word in DECIDING[name]]
            assert before, sentence.words
            far += first - before[-1] > 3
    assert cities["destination"] == cities["departure"]
    assert far > 50


def test_some_words_of_the_test_are_new_but_no_label_is(
    split: tuple[list[Sentence], list[Sentence]],
) -> None:
    words, labels = ([{x for s in part for x in s[k]} for part in split] for k in (0, 1))
    assert words[1] - words[0]
    assert labels[0] == labels[1]
