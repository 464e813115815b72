"""How old the pseudonym key is, and who may read its file."""

from __future__ import annotations

import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from lastaisle.audit.finding import Finding
from lastaisle.audit.scope import NotKnown, Scope, judged
from lastaisle.lake.tables import BATCHES, EVENTS
from lastaisle.lake.workspace import read_tables

_SHOWN: Final = "lastaisle keys show"
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
    """Tell whether other accounts can read the key file, and whether it lies inside the lake."""
    path = Path(scope.settings.privacy.key_file)
    if not path.exists():
        raise NotKnown("there is no key file; LASTAISLE_PSEUDONYM_KEY may hold the key")
    mode = stat.S_IMODE(path.stat().st_mode)
    is_private = not mode & (stat.S_IRWXG | stat.S_IRWXO)
    told = f"The key file has the mode {mode:04o}; other accounts can{'not' if is_private else ''} read it."
    yield Finding("keys", "key file", judged(is_private), told, f"ls -l {path.name}", mode)
    inside = "://" not in scope.lake.url and path.resolve().is_relative_to(Path(scope.lake.url).resolve())
    told = f"The key file lies {'inside' if inside else 'outside'} the lake."
    yield Finding("keys", "place of the key file", judged(not inside), told, f"ls -l {path.name}")
