"""Files that commands write: for their owner alone, and only whole ones."""

import errno
import os
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TextIO

from django.core.management.base import CommandError


def add_output(parser: ArgumentParser) -> None:
    """Add ``--output`` and ``--force``."""
    parser.add_argument("--output", metavar="FILE", help="write into this file, which must not exist")
    parser.add_argument("--force", action="store_true", help="replace FILE once the new one is complete")


@contextmanager
def private_file(path: str, *, force: bool = False) -> Iterator[TextIO]:
    """Write a text file that appears under ``path`` when the block ends without an error. Its mode is 0600.

    ``force``: it replaces a file of this name. Raise `CommandError` if there is one otherwise, or none can be written.
    """
    part = f"{path}.part-{os.getpid()}"
    try:
        if os.path.lexists(path) and not (force and os.path.isfile(path)):
            raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
        number = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise CommandError(f"{path} can't be made: {error.strerror}.") from None
    try:
        with os.fdopen(number, "w", encoding="utf-8", newline="") as file:
            yield file
            file.flush()
            os.fsync(number)
        if force:
            os.replace(part, path)
        else:
            os.link(part, path)  # not `rename`, which would replace a file that was made meanwhile
        _sync_directory(path)
    except OSError as error:
        raise CommandError(f"{path} can't be written: {error.strerror}.") from None
    finally:
        with suppress(FileNotFoundError):
            os.unlink(part)


def _sync_directory(path: str) -> None:
    """Write the name of the file to the disk, too: after a crash of the machine it is there."""
    directory = os.open(os.path.dirname(path) or ".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
