"""The errors of the lake."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from deltalake.exceptions import CommitFailedError, DeltaError, TableNotFoundError

from lastaisle.errors import ExitCode, LastaisleError

_COLOURS = re.compile(r"\x1b\[[0-9;]*m|↳")


class LakeConflictError(LastaisleError):
    """Another writer changed the table since it was read; read the table again and retry."""

    exit_code = ExitCode.OVERTAKEN


class VersionGoneError(LastaisleError):
    """The log of a table no longer reaches back to this version."""

    exit_code = ExitCode.TABLE_VERSION_GONE


class LakeUnusableError(LastaisleError):
    """A lake that cannot be read or written: no permission, a full disk, a refused login, a damaged table."""

    exit_code = ExitCode.LAKE_UNUSABLE


@contextmanager
def clear_errors(doing: str, url: str) -> Iterator[None]:
    """Turn the errors of disks, object stores and delta-rs into one that says what to do.

    A missing table and a lost race with another writer stay as they are: callers expect them.

    Args:
        doing: what was tried, for the message, such as "write table events".
        url: the lake.

    Raises:
        LakeUnusableError: from any other error of the system or of delta-rs.
    """
    try:
        yield
    except (TableNotFoundError, CommitFailedError):
        raise
    except (OSError, DeltaError) as error:
        raise LakeUnusableError(
            f"cannot {doing} of the lake {url}: {_reason(error)}. {_advice(error, url)}"
        ) from error


def _reason(error: Exception) -> str:
    """Return the first and the last line of an error, without colours: delta-rs lists every cause between."""
    lines = [line.strip() for line in _COLOURS.sub("", str(error)).splitlines() if line.strip()]
    if isinstance(error, OSError) and error.strerror:
        lines = [f"{error.strerror} ({error.filename})" if error.filename else error.strerror]
    ends = dict.fromkeys([*lines[:1], *lines[-1:]]) or [type(error).__name__]
    return ": ".join(ends).rstrip(".")[:500]


def _advice(error: Exception, url: str) -> str:
    if "://" in url:
        return (
            "Check the address, the credentials in the environment (such as AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY), and LASTAISLE_LAKE_OPTIONS"
        )
    if isinstance(error, OSError) or "os error" in str(error):  # delta-rs tells errors of the system as text
        return "Check that the folder exists, that this user may write to it, and that the disk has room"
    return "Check that the folder holds Delta tables which no other program has changed"
