"""The travel corpus: a small grammar that writes train.iob and test.iob beside this file.

    python examples/data/travel.py

The same city is a place of departure in one sentence and a destination in another; what decides
is an earlier word, sometimes several words back: "arrive", "leave", "from", "to". Reading only
the city and its neighbours is not enough, which is what makes the corpus worth a recurrent net.
"""

from __future__ import annotations

import random
from pathlib import Path

CITIES = [
    "taipei", "tokyo", "osaka", "paris", "rome", "vienna", "oslo", "lima", "quito", "cairo",
    "nairobi", "sydney", "delhi", "madrid", "athens", "dublin", "new york", "san francisco",
    "hong kong", "buenos aires", "cape town", "tel aviv", "kuala lumpur", "rio de janeiro",
]  # fmt: skip
TEST_CITIES = ["reykjavik", "montevideo", "addis ababa"]  # not seen in training
MONTHS = [
    "january", "february", "march", "april", "may", "june", "july", "august", "september",
    "october", "november", "december",
]  # fmt: skip
DAYS = ["1st", "2nd", "3rd", "4th", "5th", "7th", "9th", "12th", "15th", "21st", "28th", "30th"]
WEEKDAYS = ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]
TIMES = ["in the morning", "at noon", "in the afternoon", "in the evening", "at night"]

# Words in capitals are slots, TO and FROM being cities; (a|b) is a choice, (a|) may be left out.
PATTERNS = [
    "(i would like to|i want to|i have to|we will|please|) arrive (in|at|) TO (on DATE|DATE|)",
    "(i would like to|i want to|i have to|we will|please|) leave FROM (on DATE|DATE|)",
    "(i would like to|we want to|) arrive (TIME|some time TIME|on DATE TIME) in TO",
    "(i would like to|we want to|) leave (TIME|some time TIME|on DATE TIME) from FROM",
    "arriving on DATE , and of all places in TO",
    "leaving on DATE , and of all places from FROM",
    "(book|find|get me) (a flight|a train|a seat|two tickets) from FROM to TO (on DATE|TIME|)",
    "(book|find|get me) (a flight|a train|a seat|two tickets) to TO from FROM (on DATE|TIME|)",
    "(when|at what time) does the (flight|train|bus) (leave|depart) (from|) FROM (on DATE|)",
    "(when|at what time) does the (flight|train|bus) (arrive in|get to|reach) TO (on DATE|)",
    "is there a (flight|train|bus) that leaves FROM and arrives in TO (on DATE|)",
    "is there a (flight|train|bus) that arrives in TO and leaves FROM (on DATE|)",
    "we depart (TIME|on DATE) and the city is FROM",
    "we land (TIME|on DATE) and the city is TO",
]
LECTURE = ["arrive TO on DATE", "leave FROM on DATE"]  # with taipei and november 2nd: in the test
NAMES = {"TO": "destination", "FROM": "departure", "DATE": "date", "TIME": "time"}


def choose(pattern: str, rng: random.Random) -> str:
    """Resolve each (a|b) of a pattern."""
    while "(" in pattern:
        start, end = pattern.index("("), pattern.index(")")
        pick = rng.choice(pattern[start + 1 : end].split("|"))
        pattern = pattern[:start] + pick + pattern[end + 1 :]
    return pattern


def label(pattern: str, fillers: dict[str, str]) -> tuple[tuple[str, str], ...]:
    """The pairs of word and label that a pattern without choices stands for."""
    pairs: list[tuple[str, str]] = []
    for token in pattern.split():
        if token not in NAMES:
            pairs.append((token, "O"))
            continue
        for i, word in enumerate(fillers[token].split()):
            pairs.append((word, f"{'I' if i else 'B'}-{NAMES[token]}"))
    return tuple(pairs)


def sentence(rng: random.Random, cities: list[str]) -> tuple[tuple[str, str], ...]:
    """One sentence, drawn from the grammar."""
    date = rng.choice([f"{rng.choice(MONTHS)} {rng.choice(DAYS)}", rng.choice(WEEKDAYS)])
    fillers = {
        "TO": rng.choice(cities), "FROM": rng.choice(cities), "TIME": rng.choice(TIMES),
        "DATE": date,
    }  # fmt: skip
    return label(choose(rng.choice(PATTERNS), rng), fillers)


def corpus(train: int = 800, test: int = 200, seed: int = 0) -> dict[str, str]:
    """The text of both files; every sentence of both is distinct."""
    rng = random.Random(seed)
    lecture = {"TO": "taipei", "FROM": "taipei", "DATE": "november 2nd"}
    tested = dict.fromkeys(label(pattern, lecture) for pattern in LECTURE)
    trained: dict[tuple[tuple[str, str], ...], None] = {}
    while len(trained) < train:
        drawn = sentence(rng, CITIES)
        if drawn not in tested:
            trained[drawn] = None
    while len(tested) < test:
        drawn = sentence(rng, CITIES + TEST_CITIES * 2)
        if drawn not in trained:
            tested[drawn] = None
    return {
        name: "\n".join("".join(f"{w}\t{slot}\n" for w, slot in s) for s in sentences)
        for name, sentences in (("train.iob", trained), ("test.iob", tested))
    }


if __name__ == "__main__":
    for name, text in corpus().items():
        Path(__file__).with_name(name).write_text(text, encoding="utf-8", newline="\n")
