"""How old the pseudonym key is, and who may read keys and the ids of requests."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lastaisle.audit.finding import Finding
from lastaisle.audit.scope import NotKnown, Scope, judged
from lastaisle.lake.tables import BATCHES, EVENTS
from lastaisle.lake.workspace import read_tables
from lastaisle.settings.private import lies_in_lake

_SHOWN: Final = "lastaisle keys show"
_RIGHTS: Final = "ls -lR {}"
_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO
_BEGINS: Final = f"""
SELECT key_version, min(started_at) FROM {EVENTS} LEFT JOIN {BATCHES} USING (batch_id)
WHERE key_version IS NOT NULL GROUP BY key_version ORDER BY key_version
"""


def age(scope: Scope) -> Iterator[Finding]:
    """Tell for how long the newest key makes pseudonyms, and how many keys made those of the lake."""
    events, batches = scope.lake.dataset(EVENTS), scope.lake.dataset(BATCHES)
    if events is None or batches is None:
        raise NotKnown("no pseudonym was made yet")
    with read_tables(scope.lake.url, events=events, batches=batches) as connection:
        versions = connection.execute(_BEGINS).fetchall()
    if not versions:
        raise NotKnown("no event names the version of its key")
    newest, begin = versions[-1]
    told = f"Versions of the key that made the pseudonyms of events: {len(versions)}; a rotation keeps one."
    yield Finding("keys", "versions in use", judged(len(versions) == 1), told, _SHOWN, len(versions))
    if begin is None:
        raise NotKnown(f"no batch tells since when version {newest} of the key is used")
    days, most = (scope.now - begin).days, scope.settings.privacy.key_max_days
    told = f"Version {newest} of the key has been used for {days} days at least; {most} are allowed."
    yield Finding("keys", "age of the key", judged(not most or days <= most), told, _SHOWN, days)


def file(scope: Scope) -> Iterator[Finding]:
    """Tell whether other accounts can read the file of the pseudonym keys, and if it lies in the lake."""
    why = "there is no key file; LASTAISLE_PSEUDONYM_KEY may hold the key"
    yield from _private(scope, "key file", Path(scope.settings.privacy.key_file), why)


def receipt_key(scope: Scope) -> Iterator[Finding]:
    """Tell the same of the key that signs receipts: a reader could sign receipts of erasures."""
    why = "no receipt was signed yet, so there is no key of receipts"
    yield from _private(scope, "key of receipts", Path(scope.settings.privacy.receipt_key), why)


def inbox(scope: Scope) -> Iterator[Finding]:
    """Tell the same of the folder of requests, which holds user ids until the requests end."""
    why = "there was no request yet, so there is no folder of requests"
    yield from _private(scope, "folder of requests", Path(scope.settings.privacy.requests), why)


def _private(scope: Scope, name: str, path: Path, absent: str) -> Iterator[Finding]:
    """Yield who can read a file, or a folder with what is in it, and whether it lies inside the lake.

    Raises:
        NotKnown: there is no such file, or this account may not look.
    """
    evidence = _RIGHTS.format(path.name)
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        inner = sum(map(_is_open, path.rglob("*")))
    except FileNotFoundError as error:
        raise NotKnown(absent) from error
    except OSError as error:
        raise NotKnown(f"the {name} cannot be looked at: {error.strerror}") from error
    closed = not mode & _OTHERS  # nobody gets through a folder without rights to what is in it
    told = f"The {name} has the mode {mode:04o}; other accounts can{'not' if closed else ''} read it."
    if inner:
        told += f" Files and folders in it that others may read: {inner}."
    yield Finding("keys", name, judged(closed and not inner), told, evidence, mode)
    inside = lies_in_lake(path.resolve(), scope.lake.url)
    told = f"The {name} lies {'inside' if inside else 'outside'} the lake."
    yield Finding("keys", f"place of the {name}", judged(not inside), told, evidence)


def _is_open(path: Path) -> bool:
    """Tell whether other accounts have rights to a file; a request that ended meanwhile has no file."""
    try:
        return bool(stat.S_IMODE(path.lstat().st_mode) & _OTHERS)
    except FileNotFoundError:
        return False
