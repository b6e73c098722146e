"""Files that are written as a whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[Path]:
    """Gives the name of a temporary file with the same ending; when the block ends, it becomes the file.

    The temporary file is new and empty, and nobody can foretell its name: in a folder where others may write,
    a link in its place could lead to somebody's data.

    Raises:
        OSError: if the file cannot be written; the message names the file. No file is left then, nor after
            an error in the block.
    """
    # The ending is kept, as some writers choose the format by it; a long name leaves no room for more.
    partial = path.with_name(f".{os.getpid()}-{secrets.token_hex(8)}{path.suffix}")
    try:
        os.close(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        yield partial
        partial.replace(path)
    except OSError as error:
        if error.filename in (None, str(partial)):
            error.filename, error.filename2 = str(path), None
        raise
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)
