"""Checkpoints resume bit for bit; what is damaged, foreign or does not fit changes nothing."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinygrad_rnn as tr
from tinygrad_rnn import nn, train
from tinygrad_rnn.train import checkpoints


def training(steps: int, cell: Any, optimiser: Any, rng: np.random.Generator) -> None:
    for _ in range(steps):
        optimiser.zero_grad()
        outputs, _ = nn.unroll(cell, rng.standard_normal((4, 2, 3)))
        (tr.stack(outputs) ** 2).sum().backward()
        optimiser.step()


def setting(seed: int) -> tuple[Any, Any, np.random.Generator]:
    cell = nn.LSTMCell(3, 4, rng=seed)
    return cell, train.Adam(cell.parameters(), lr=0.01), np.random.default_rng(seed)


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    pytest.importorskip("safetensors")
    cell, optimiser, rng = setting(0)
    training(3, cell, optimiser, rng)
    train.save(tmp_path / "a.safetensors", cell, optimiser, rng)
    return tmp_path / "a.safetensors"


def test_training_resumed_gives_the_same_weights_bit_for_bit(checkpoint: Path) -> None:
    through, resumed = setting(0), setting(1)
    training(8, *through)
    train.load(checkpoint, *resumed)
    training(5, *resumed)
    for p, q in zip(through[0].parameters(), resumed[0].parameters(), strict=True):
        np.testing.assert_array_equal(p.data, q.data)


def unchanged_after(error: type[Exception], message: str, path: Path, *what: Any) -> None:
    cell, optimiser, rng = what
    before, state = cell.state_dict(), rng.bit_generator.state
    remembered = [{k: v.copy() for k, v in s.items()} for s in optimiser.state]
    with pytest.raises(error, match=message):
        train.load(path, cell, optimiser, rng)
    assert all(array is before[name] for name, array in cell.state_dict().items())
    assert rng.bit_generator.state == state
    for then, now in zip(remembered, optimiser.state, strict=True):
        for key, array in then.items():
            np.testing.assert_array_equal(array, now[key])


def test_a_truncated_checkpoint_is_refused_and_changes_nothing(checkpoint: Path) -> None:
    content = checkpoint.read_bytes()
    for length in (0, 5, 100, len(content) - 1):
        checkpoint.write_bytes(content[:length])
        unchanged_after(ValueError, "not a whole", checkpoint, *setting(1))


def test_a_foreign_file_is_refused_and_changes_nothing(checkpoint: Path) -> None:
    from safetensors.numpy import save_file

    checkpoint.write_bytes(b"\x80\x04pickle is not welcome here")
    unchanged_after(ValueError, "not a whole safetensors file", checkpoint, *setting(1))
    save_file({"weight": np.ones(3)}, checkpoint)
    unchanged_after(ValueError, "no checkpoint of tinygrad_rnn", checkpoint, *setting(1))
    unchanged_after(FileNotFoundError, "no such checkpoint", checkpoint.with_name("b"), *setting(1))


def test_a_checkpoint_of_another_net_or_optimiser_is_refused(checkpoint: Path) -> None:
    cell = nn.LSTMCell(3, 5, rng=0)
    other = (cell, train.Adam(cell.parameters()), np.random.default_rng(0))
    unchanged_after(ValueError, "does not fit", checkpoint, *other)
    cell = nn.LSTMCell(3, 4, rng=0)
    other = (cell, train.SGD(cell.parameters(), lr=0.1), np.random.default_rng(0))
    unchanged_after(ValueError, "state of Adam, which does not fit this SGD", checkpoint, *other)


def test_a_failed_save_leaves_the_old_checkpoint(
    checkpoint: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = checkpoint.read_bytes()

    def fail(*_: Any) -> None:
        raise OSError("the disk is full")

    monkeypatch.setattr("os.replace", fail)
    with pytest.raises(OSError, match="disk is full"):
        train.save(checkpoint, setting(1)[0])
    assert checkpoint.read_bytes() == before
    assert list(checkpoint.parent.iterdir()) == [checkpoint]


def test_saving_into_no_directory_is_refused(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    with pytest.raises(FileNotFoundError, match="does not exist"):
        train.save(tmp_path / "none" / "a.safetensors", nn.ElmanCell(2, 3))


BITS = np.random.default_rng(0).integers(0, 2**20, 600)


def test_a_flipped_bit_is_refused_or_changes_nothing_that_is_loaded(checkpoint: Path) -> None:
    """600 bits of the header and 60 of the numbers."""
    content = checkpoint.read_bytes()
    right = setting(1)
    train.load(checkpoint, *right)
    header = 8 + int.from_bytes(content[:8], "little")
    places = [*(BITS % (8 * header)), *(8 * header + BITS[:60] % (8 * (len(content) - header)))]
    refused = named = same = 0
    for place in places:
        flipped = bytearray(content)
        flipped[place // 8] ^= 1 << (place % 8)
        checkpoint.write_bytes(flipped)
        found = setting(1)
        before = found[0].state_dict()
        try:
            train.load(checkpoint, *found)
        except ValueError as error:
            named += str(checkpoint) in str(error)
            same += all(array is before[name] for name, array in found[0].state_dict().items())
            refused += 1
        else:
            for p, q in zip(found[0].parameters(), right[0].parameters(), strict=True):
                np.testing.assert_array_equal(p.data, q.data)
            for mine, theirs in zip(found[1].state, right[1].state, strict=True):
                for slot, array in mine.items():
                    np.testing.assert_array_equal(array, theirs[slot])
            assert found[1].lr == right[1].lr
            assert found[2].bit_generator.state == right[2].bit_generator.state
    assert named == same == refused > 600


@pytest.fixture
def forge(checkpoint: Path) -> Callable[..., None]:
    """Write other metadata or arrays into the checkpoint, with the checksum that they need."""
    from safetensors.numpy import save_file

    def forge(arrays: dict[str, Any], **metadata: str) -> None:
        was, about = checkpoints._read(checkpoint)
        was, about = was | arrays, about | metadata
        save_file(was, checkpoint, about | {"checksum": checkpoints._checksum(was, about)})

    return forge


@pytest.mark.parametrize(
    "metadata",
    [
        *({"optimiser": f'["Adam", {lr}]'} for lr in ('"fast"', "null", "NaN", "[]", "1e999")),
        {"optimiser": '{"a": 1}'},
        {"optimiser": "[1, 2, 3]"},
        {"optimiser": "Adam"},
        {"rng": "null"},
        {"rng": "[]"},
        {"rng": '{"bit_generator": "PCG64"}'},
        {"rng": '{"bit_generator": "MT19937", "state": {}}'},
        {"rng": '{"bit_generator": "PCG64", "state": {"state": -1, "inc": 1}}'},
        {"rng": '{"bit_generator": "PCG64", "state": {"state": "a", "inc": 1}}'},
    ],
    ids=str,
)
def test_bad_metadata_is_refused_by_the_files_name_and_changes_nothing(
    checkpoint: Path, forge: Callable[..., None], metadata: dict[str, str]
) -> None:
    forge({}, **metadata)
    unchanged_after(ValueError, str(checkpoint), checkpoint, *setting(1))


@pytest.mark.parametrize(
    ("arrays", "complaint"),
    [
        ({"module.b": np.full(16, 1e300)}, "module.b has values too large for float32"),
        ({"module.b": np.array([np.inf, 1e300] * 8)}, "module.b has values too large for float32"),
        ({"module.b": np.ones(15)}, r"module.b has shape \(15,\) instead of \(16,\)"),
        ({"module.c": np.ones(16)}, "module.c is unexpected"),
        ({"optimiser.0.steps": np.ones(())}, "optimiser.0.steps holds float64 instead of int64"),
        ({"optimiser.9.mean": np.ones(())}, "optimiser.9.mean is unexpected"),
        ({"optimiser.0.mean": np.full((3, 16), 1e300)}, "optimiser.0.mean has values too large"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_arrays_that_do_not_fit_are_named_and_change_nothing(
    checkpoint: Path, forge: Callable[..., None], arrays: dict[str, Any], complaint: str
) -> None:
    forge(arrays)
    cell = nn.LSTMCell(3, 4, rng=1, dtype=np.float32)
    other = (cell, train.Adam(cell.parameters(), lr=0.01), np.random.default_rng(1))
    unchanged_after(ValueError, complaint, checkpoint, *other)


def test_bfloat16_is_refused_in_a_sentence(checkpoint: Path) -> None:
    """A file that NumPy cannot read, unless ml_dtypes has taught it to; ours it is in no case."""
    about = {"format": checkpoints._FORMAT}
    tensor = {"dtype": "BF16", "shape": [2], "data_offsets": [0, 4]}
    header = json.dumps({"__metadata__": about, "module.b": tensor}).encode()
    checkpoint.write_bytes(len(header).to_bytes(8, "little") + header + bytes(4))
    unchanged_after(ValueError, f"{checkpoint}: (not a whole|.*damaged)", checkpoint, *setting(1))


@pytest.mark.parametrize("kind", ["PCG64", "MT19937", "Philox", "SFC64"])
def test_every_random_generator_goes_on_where_it_was(tmp_path: Path, kind: str) -> None:
    pytest.importorskip("safetensors")
    one, two = (np.random.Generator(getattr(np.random, kind)(seed)) for seed in (0, 1))
    one.random(5)
    cell = nn.ElmanCell(2, 3)
    train.save(tmp_path / "a", cell, rng=one)
    train.load(tmp_path / "a", cell, rng=two)
    assert one.random() == two.random()


def test_a_checkpoint_says_what_it_is_about(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    about = {"words": ["to", "são paulo"], "hidden": 3}
    train.save(tmp_path / "a", nn.ElmanCell(2, 3), about=about)
    assert train.read_about(tmp_path / "a") == about
    train.save(tmp_path / "a", nn.ElmanCell(2, 3))
    assert train.read_about(tmp_path / "a") is None


@pytest.mark.parametrize("lr", ["fast", None, float("nan"), float("inf")])
def test_a_learning_rate_that_is_no_number_is_not_saved(tmp_path: Path, lr: Any) -> None:
    pytest.importorskip("safetensors")
    cell = nn.ElmanCell(2, 3)
    with pytest.raises(ValueError, match="expected a finite number"):
        train.save(tmp_path / "a", cell, train.SGD(cell.parameters(), lr=lr))
    assert not list(tmp_path.iterdir())
