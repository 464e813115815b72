"""Keep the files of one machine from its other accounts."""

from __future__ import annotations

import logging
import os
import secrets
import stat
from pathlib import Path
from typing import Final

log = logging.getLogger(__name__)

PRIVATE_UMASK: Final = 0o077


def create_private_files() -> None:
    """Let this process and its children create files and folders that only their own account can read.

    The lake holds raw user ids, and the home holds keys, passwords and databases. A user's umask of 022 would
    let all accounts of the machine read them.
    """
    os.umask(PRIVATE_UMASK)


def make_private(folder: Path) -> None:
    """Make a folder that only this account can read; an existing folder of this account loses other rights.

    A folder of another account stays as it is, because its owner decides who reads it. So does a folder with
    the sticky bit, such as /tmp, which all accounts share.

    Args:
        folder: the folder, such as the home; its missing parents are made too.

    Raises:
        OSError: the folder cannot be made.
    """
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    tighten(folder)


def tighten(folder: Path) -> None:
    """Take the rights of other accounts from an existing folder of this account, and say so."""
    try:
        found = folder.stat()
    except OSError:
        return
    mode = stat.S_IMODE(found.st_mode)
    if found.st_uid != os.geteuid() or not mode & PRIVATE_UMASK or mode & stat.S_ISVTX:
        return
    try:
        folder.chmod(mode & ~PRIVATE_UMASK)
    except OSError as error:
        log.warning(
            "other accounts may enter %s (mode %o), and its mode cannot be changed: %s",
            folder,
            mode,
            error.strerror,
        )
        return
    log.warning(
        "other accounts could enter %s (mode %o); its mode is %o now", folder, mode, mode & ~PRIVATE_UMASK
    )


def lies_in_lake(path: Path, lake_url: str) -> bool:
    """Tell whether an absolute path lies inside a lake. A lake in a bucket holds no local path."""
    is_local = lake_url and "://" not in lake_url
    return bool(is_local) and path.is_relative_to(Path(lake_url).expanduser().resolve())


def write_new(file: Path, content: bytes) -> None:
    """Write a new file that only this account can read, whole or not at all.

    Raises:
        FileExistsError: there is such a file; it stays as it is.
        OSError: the file cannot be written.
    """
    draft = file.with_name(f".{secrets.token_hex(8)}.new")  # a name may be that of a shopper
    handle = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        os.link(draft, file)  # unlike a rename, this never replaces an existing file
    finally:
        draft.unlink()
