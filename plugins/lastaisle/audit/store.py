"""Keep an audit: a row of the table `audits`, and the page as HTML and PDF.

The files are written first, then the row. A run that was killed is run again, and gives the same files. An
audit that finds the same for the same days adds no second row.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pyarrow as pa

from lastaisle.audit.finding import Audit, State
from lastaisle.lake.tables import AUDITS, AUDITS_SCHEMA
from lastaisle.lake.whole_file import whole_file

if TYPE_CHECKING:
    from lastaisle.lake.lake import Lake
    from lastaisle.lake.reader import LakeReader
    from lastaisle.settings import Settings

FORMS: Final = ("html", "pdf")
_NAME: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}--[0-9]{4}-[0-9]{2}-[0-9]{2}-[0-9a-f]{12}")


def folder_of(settings: Settings) -> Path:
    """Return the folder that keeps the pages of audits."""
    return settings.home / "audits"


def keep(lake: Lake, folder: Path, audit: Audit) -> bool:
    """Write the page of an audit into a folder, and its row into the lake.

    Args:
        lake: where the table `audits` is.
        folder: where the files are; made if it is missing.
        audit: what was found.

    Returns:
        Whether the row is new; False if an earlier audit of the same days found the same.
    """
    from lastaisle.audit.page import html_of
    from lastaisle.audit.pdf import pdf_of

    folder.mkdir(parents=True, exist_ok=True)
    for form, content in (("html", html_of(audit).encode()), ("pdf", pdf_of(audit))):
        path = folder / f"{audit.audit_id}.{form}"
        if not path.exists():
            with whole_file(path) as part:
                part.write_bytes(content)
    written = audit.to_dict()
    row = {
        "audit_id": audit.audit_id,
        "at": audit.at,
        "first_day": audit.first_day,
        "last_day": audit.last_day,
        "failed": audit.count(State.FAILED),
        "findings": json.dumps(written),
    }
    return lake.append(AUDITS, pa.Table.from_pylist([row], AUDITS_SCHEMA), key=audit.audit_id)


def newest(lake: LakeReader) -> Audit | None:
    """Return the newest audit; None if there was none."""
    rows = lake.scan(AUDITS)
    if not rows.num_rows:
        return None
    last = rows.sort_by([("at", "descending")]).slice(0, 1).to_pylist()[0]
    return Audit.from_dict(json.loads(last["findings"]))


def file_of(folder: Path, audit_id: str, form: str) -> Path | None:
    """Return the file of an audit; None if there is none, or the id or the form is none of an audit."""
    if form not in FORMS or not _NAME.fullmatch(audit_id):
        return None
    path = folder / f"{audit_id}.{form}"
    return path if path.is_file() else None
