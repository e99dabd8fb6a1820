"""Sentences with slot labels: reading, numbering, and the CoNLL span score.

Plain functions on lists, for the lessons and slot_filling.py; nothing here knows about tensors.
"""

from __future__ import annotations

import codecs
from collections import Counter
from collections.abc import Iterable, Sequence
from os import PathLike
from pathlib import Path
from typing import NamedTuple

UNKNOWN = "<unk>"


class Sentence(NamedTuple):
    """Words and the label of each.

    Attributes
    ----------
    words, labels : list of str
        Of the same length.

    Examples
    --------
    >>> sentence = Sentence(["to", "New", "York"], ["O", "B-city", "I-city"])
    >>> chunks(sentence.labels)
    {('city', 1, 3)}
    """

    words: list[str]
    labels: list[str]


def read_iob(path: str | PathLike[str]) -> list[Sentence]:
    r"""Read sentences from an IOB file: ``word<TAB>label`` a line, a blank line between sentences.

    Parameters
    ----------
    path : path-like
        A text file in UTF-8.

    Returns
    -------
    list of Sentence

    Raises
    ------
    FileNotFoundError, ValueError
        A sentence with the file and, where there is one, the line number.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "travel.iob"
    ...     _ = file.write_text("to\tO\nRome\tB-city\n\nhello\tO\n", encoding="utf-8")
    ...     for sentence in read_iob(file):
    ...         print(sentence.words, sentence.labels)
    ['to', 'Rome'] ['O', 'B-city']
    ['hello'] ['O']
    """
    file = Path(path)
    try:
        content = file.read_bytes().removeprefix(codecs.BOM_UTF8)
    except FileNotFoundError:
        raise FileNotFoundError(f"{file}: there is no such file") from None
    except OSError as error:
        raise ValueError(f"{file}: cannot be read: {error.strerror}") from None
    try:
        lines = content.decode().split("\n")
    except UnicodeDecodeError as error:
        number = content.count(b"\n", 0, error.start) + 1
        raise ValueError(f"{file}, line {number}: is not UTF-8 text: {error.reason}") from None
    sentences = []
    words: list[str] = []
    labels: list[str] = []
    for number, line in enumerate([*lines, ""], start=1):
        if not line.strip(" \r"):
            if words:
                sentences.append(Sentence(words, labels))
                words, labels = [], []
            continue
        word, tab, label = line.rstrip("\r").partition("\t")
        if not (word.strip() and tab and label) or "\t" in label:
            raise ValueError(f"{file}, line {number}: expected word<TAB>label, found {line!r}")
        if label != "O" and not (label[:2] in ("B-", "I-") and label[2:]):
            raise ValueError(
                f"{file}, line {number}: expected a label O, B-name or I-name, found {label!r}"
            )
        words.append(word)
        labels.append(label)
    if not sentences:
        raise ValueError(f"{file}: the file holds no sentence")
    return sentences


def numbering(
    sequences: Iterable[Sequence[str]], at_least: int = 1, first: Sequence[str] = ()
) -> dict[str, int]:
    """Number the distinct words of `sequences` in the order in which they first occur.

    Parameters
    ----------
    sequences : iterable of sequences of str
    at_least : int, default 1
        Leave out words that occur less often.
    first : sequence of str
        Words that get the first numbers whether they occur or not, such as `UNKNOWN`.

    Examples
    --------
    >>> numbering([["to", "taipei"], ["to", "rome"]], at_least=2, first=["<unk>"])
    {'<unk>': 0, 'to': 1}
    """
    counts = Counter(word for sequence in sequences for word in sequence)
    kept = [word for word, count in counts.items() if count >= at_least]
    return {word: i for i, word in enumerate(dict.fromkeys([*first, *kept]))}


class Vocabulary:
    """Words and their numbers; what it does not hold has the number of `UNKNOWN`.

    If all of its words are in lower case, others are looked up in lower case too.

    Parameters
    ----------
    words : iterable of str
        Each with its place as number; `UNKNOWN` among them.

    Examples
    --------
    >>> vocabulary = Vocabulary(["<unk>", "to", "taipei"])
    >>> vocabulary(["To", "Taipei", "tonight"])
    [1, 2, 0]
    """

    def __init__(self, words: Iterable[str]) -> None:
        self.words = list(words)
        self.lower = all(word == word.lower() for word in self.words)
        self._numbers = {word: i for i, word in enumerate(self.words)}

    def __call__(self, words: Iterable[str]) -> list[int]:
        """The words' numbers."""
        unknown = self._numbers[UNKNOWN]
        return [self._numbers.get(word.lower() if self.lower else word, unknown) for word in words]


def chunks(labels: Sequence[str]) -> set[tuple[str, int, int]]:
    """The labelled spans of a sentence as (name, first, last + 1), by the CoNLL definition.

    A span begins at B-name, or at an I-name that does not continue a span of its own name.

    Parameters
    ----------
    labels : sequence of str
        ``O``, ``B-name`` or ``I-name``, one for each word.

    Returns
    -------
    set of (str, int, int)

    Examples
    --------
    >>> sorted(chunks(["O", "B-city", "I-city", "B-date", "I-city"]))
    [('city', 1, 3), ('city', 4, 5), ('date', 3, 4)]
    """
    found = set()
    name, first = "", 0
    for i, label in enumerate([*labels, "O"]):
        if name and label != f"I-{name}":
            found.add((name, first, i))
            name = ""
        if label != "O" and not name:
            name, first = label[2:], i
    return found


class SpanScore(NamedTuple):
    """How well spans were found, those of one name or of all.

    Attributes
    ----------
    right, given, hits : int
        Spans that there are, that were given, and that are both: name and both ends alike.

    Examples
    --------
    >>> score = SpanScore(right=4, given=2, hits=1)
    >>> score.precision, score.recall, round(score.f1, 1)
    (50.0, 25.0, 33.3)
    """

    right: int
    given: int
    hits: int

    @property
    def precision(self) -> float:
        """The share of the spans given that are right, in percent; 0 of none."""
        return 100.0 * self.hits / max(self.given, 1)

    @property
    def recall(self) -> float:
        """The share of the right spans that were given, in percent; 0 of none."""
        return 100.0 * self.hits / max(self.right, 1)

    @property
    def f1(self) -> float:
        """The harmonic mean of the two, in percent; 0 if no span is right."""
        return 200.0 * self.hits / max(self.right + self.given, 1)


def span_scores(
    right: Iterable[Sequence[str]], given: Iterable[Sequence[str]]
) -> dict[str, SpanScore]:
    """The spans of each name, counted over all sentences (Tjong Kim Sang and De Meulder 2003).

    Parameters
    ----------
    right, given : iterables of label sequences
        The sentences' true and predicted labels.

    Returns
    -------
    dict
        By name, in alphabetical order.

    Raises
    ------
    ValueError
        If the two differ in the number of sentences, or of labels in one.

    Examples
    --------
    >>> span_scores([["B-city", "I-city", "B-date"]], [["B-city", "O", "B-date"]])
    {'city': SpanScore(right=1, given=1, hits=0), 'date': SpanScore(right=1, given=1, hits=1)}
    """
    counts: dict[str, Counter[str]] = {kind: Counter() for kind in SpanScore._fields}
    for n, (r, g) in enumerate(zip(right, given, strict=True)):
        if len(r) != len(g):
            raise ValueError(f"sentence {n} has {len(r)} labels, but {len(g)} were given for it")
        spans = chunks(r), chunks(g)
        for kind, found in zip(SpanScore._fields, (*spans, spans[0] & spans[1]), strict=True):
            counts[kind].update(name for name, _, _ in found)
    names = sorted(counts["right"] | counts["given"])
    return {name: SpanScore(*(counts[kind][name] for kind in SpanScore._fields)) for name in names}


def span_f1(right: Iterable[Sequence[str]], given: Iterable[Sequence[str]]) -> float:
    """Span F1 in percent over all sentences and names: of the sums of `span_scores`.

    Parameters
    ----------
    right, given : iterables of label sequences
        The sentences' true and predicted labels.

    Raises
    ------
    ValueError
        As `span_scores`.

    Examples
    --------
    >>> span_f1([["B-city", "I-city", "O"]], [["B-city", "O", "O"]])
    0.0
    """
    scores = span_scores(right, given).values()
    return SpanScore(*(sum(column) for column in zip((0, 0, 0), *scores, strict=True))).f1
