"""A file is replaced whole or not at all, and only where a regular file stands, or none."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from tinygrad_rnn.train import check_replaceable, replace_file

pytestmark = pytest.mark.skipif(os.name == "nt", reason="permissions and links of POSIX")


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture
def old(tmp_path: Path) -> Path:
    path = tmp_path / "a.bin"
    path.write_bytes(b"old")
    return path


@pytest.mark.parametrize("permissions", [0o600, 0o640, 0o666, 0o755])
def test_a_file_keeps_its_permissions(old: Path, permissions: int) -> None:
    old.chmod(permissions)
    replace_file(old, b"new")
    assert (old.read_bytes(), mode(old)) == (b"new", permissions)


def test_a_new_file_gets_the_permissions_of_any_other(tmp_path: Path) -> None:
    (tmp_path / "other").write_bytes(b"")
    replace_file(tmp_path / "a", b"new")
    assert mode(tmp_path / "a") == mode(tmp_path / "other")


@pytest.mark.parametrize("exists", [True, False])
def test_a_symbolic_link_stays_and_its_target_is_written(tmp_path: Path, exists: bool) -> None:
    (tmp_path / "folder").mkdir()
    target, link = tmp_path / "folder" / "real", tmp_path / "link"
    if exists:
        target.write_bytes(b"old")
    link.symlink_to(target)
    replace_file(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["real"]


@pytest.mark.parametrize("kind", ["device", "pipe", "directory", "link to a device"])
def test_what_is_no_regular_file_is_refused_and_stays(tmp_path: Path, kind: str) -> None:
    path = Path(os.devnull) if kind == "device" else tmp_path / "a"
    if kind == "pipe":
        os.mkfifo(path)
    elif kind == "directory":
        path.mkdir()
    elif kind == "link to a device":
        path.symlink_to(os.devnull)
    before = path.lstat()
    with pytest.raises(ValueError, match="it is not a regular file"):
        replace_file(path, b"new")
    assert (path.lstat().st_ino, path.lstat().st_mode) == (before.st_ino, before.st_mode)


def test_a_read_only_file_is_refused(old: Path) -> None:
    old.chmod(0o444)
    with pytest.raises(PermissionError, match=r"a\.bin': the file is read-only"):
        replace_file(old, b"new")
    assert old.read_bytes() == b"old"


def test_a_hard_link_is_refused(old: Path) -> None:
    os.link(old, old.with_name("b"))
    with pytest.raises(ValueError, match="2 names"):
        replace_file(old, b"new")
    assert old.read_bytes() == b"old"


def test_a_check_says_the_same_and_writes_nothing(old: Path) -> None:
    assert check_replaceable(old) == old.resolve()
    assert check_replaceable(old.with_name("new")).name == "new"
    with pytest.raises(FileNotFoundError, match=r"none.* does not exist"):
        check_replaceable(old.parent / "none" / "a")
    assert [p.name for p in old.parent.iterdir()] == ["a.bin"]


@pytest.mark.parametrize("place", ["open", "chmod", "fsync", "replace"])
@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_ctrl_c_anywhere_is_ctrl_c_and_leaves_a_whole_file(
    old: Path, monkeypatch: pytest.MonkeyPatch, place: str, after: bool
) -> None:
    real = getattr(os, place)

    def interrupted(*args: object, **kwargs: object) -> object:
        monkeypatch.undo()
        result = real(*args, **kwargs) if after else None
        if place == "open" and isinstance(result, int):
            os.close(result)
        raise KeyboardInterrupt

    monkeypatch.setattr(f"os.{place}", interrupted)
    with pytest.raises(KeyboardInterrupt):
        replace_file(old, b"new")
    assert old.read_bytes() in (b"old", b"new")
    assert list(old.parent.iterdir()) == [old]
