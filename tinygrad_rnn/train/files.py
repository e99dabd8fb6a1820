"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

__all__ = ["replace_file"]


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Put `content` into a file, replacing it as a whole.

    Whatever happens on the way, the file holds what it held before or all that is new. A new file
    gets the permissions that any other would.

    Parameters
    ----------
    path : path-like
    content : bytes

    Raises
    ------
    FileNotFoundError
        If the directory does not exist.

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
    target = Path(path)
    if not target.parent.is_dir():
        raise FileNotFoundError(
            f"cannot write {target.name!r}: the directory {str(target.parent)!r} does not exist"
        )
    handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name[:40]}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        mask = os.umask(0)
        os.umask(mask)
        os.chmod(temporary, 0o666 & ~mask)
        os.replace(temporary, target)
    except BaseException:
        os.unlink(temporary)
        raise
