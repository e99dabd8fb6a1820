"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import secrets
import stat
from contextlib import suppress
from pathlib import Path

__all__ = ["check_replaceable", "replace_file"]


def check_replaceable(path: str | os.PathLike[str]) -> Path:
    """Raise now any error that would keep `replace_file` from writing to this path later.

    Parameters
    ----------
    path : path-like

    Returns
    -------
    pathlib.Path
        The file itself, behind all symbolic links.

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.
    PermissionError
        If the file is read-only.
    ValueError
        If it is not a regular file (but a device, a pipe, a directory), or has another name too: a
        hard link would keep the old content.

    Examples
    --------
    >>> import tinygrad_rnn as tr
    >>> tr.train.check_replaceable("new.txt").name
    'new.txt'
    >>> tr.train.check_replaceable(".")
    Traceback (most recent call last):
        ...
    ValueError: cannot write '.': it is not a regular file
    """
    target = Path(os.path.realpath(path))
    try:
        found = os.stat(path)  # what the name leads to, even where realpath cannot spell it
    except FileNotFoundError:
        if not target.parent.is_dir():
            raise FileNotFoundError(
                f"cannot write {target.name!r}: the directory {str(Path(path).parent)!r} "
                f"does not exist"
            ) from None
        return target
    if not stat.S_ISREG(found.st_mode):
        raise ValueError(f"cannot write {str(path)!r}: it is not a regular file")
    if not found.st_mode & 0o222 or not os.access(target, os.W_OK):
        raise PermissionError(f"cannot write {str(path)!r}: the file is read-only")
    if found.st_nlink > 1:
        raise ValueError(
            f"cannot write {str(path)!r}: the file has {found.st_nlink} names (hard links), and "
            f"replacing it would part them; delete this name first"
        )
    return target


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write `content` to a file, replacing it as a whole.

    Even if the program is interrupted, the file holds either its old content or all of the new. A
    file keeps its permissions; a new one gets the default ones.

    Parameters
    ----------
    path : path-like
        A symbolic link is followed to its target.
    content : bytes

    Raises
    ------
    FileNotFoundError, PermissionError, ValueError
        As `check_replaceable`; nothing is written.

    Examples
    --------
    >>> import pathlib, tempfile
    >>> import tinygrad_rnn as tr
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     file = pathlib.Path(folder) / "a.txt"
    ...     tr.train.replace_file(file, b"whole")
    ...     file.read_bytes()
    b'whole'
    """
    target = check_replaceable(path)
    mode = stat.S_IMODE(target.stat().st_mode) if target.exists() else None
    temporary = target.with_name(f".{target.name[:40]}.{secrets.token_hex(4)}")
    try:
        # Never open to more readers than the file itself, not even for a moment.
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
        with os.fdopen(os.open(temporary, flags, 0o666 if mode is None else mode), "wb") as file:
            if mode is not None:
                os.chmod(temporary, mode)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, target)
    except BaseException:
        with suppress(FileNotFoundError):  # Ctrl-C may come when it has become the target
            os.unlink(temporary)
        raise
