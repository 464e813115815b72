"""The rule unreadable_source: files were refused as a whole, and did not come again in order."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from pydantic import Field

from lastaisle.lake.tables import FILES, FILES_SCHEMA, REFUSED_FILES
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.context import Context, RuleOptions
from lastaisle.monitor.alerts.model import UNREADABLE_SOURCE, Evidence, Finding
from lastaisle.telemetry.shown import utc, without_password

_REFUSED: Final = """
SELECT source, count(DISTINCT url)::BIGINT AS files, min(refused_at) AS since, max(refused_at) AS last,
    arg_max(reason, refused_at) AS reason
FROM refused_files AS refusal
WHERE refused_at >= $since AND NOT EXISTS (
    FROM files WHERE files.url = refusal.url AND files.format = refusal.format AND taken_in_at > refused_at)
GROUP BY source ORDER BY source
"""
_QUERY: Final = (
    "SELECT url, reason, refused_at FROM refused_files WHERE refused_at >= TIMESTAMPTZ '{since}' "
    "ORDER BY refused_at DESC"
)


class UnreadableSourceOptions(RuleOptions):
    """The limits of unreadable_source."""

    days: int = Field(
        default=7,
        ge=1,
        le=365,
        description="A file that was refused longer ago is given up.",
    )


def check(context: Context[UnreadableSourceOptions]) -> list[Finding]:
    """Find the sources with refused files; a file that was ingested afterwards is in order."""
    refused = context.lake.dataset(REFUSED_FILES)
    if refused is None:
        return []
    files = context.lake.dataset(FILES) or FILES_SCHEMA.empty_table()
    since = context.now - timedelta(days=context.options.days)
    with open_tables(refused_files=refused, files=files) as connection:
        rows = connection.sql(_REFUSED, params={"since": since}).to_arrow_table().to_pylist()
    findings = []
    for row in rows:
        source = without_password(row["source"] or "unknown")
        counted = "1 file" if row["files"] == 1 else f"{row['files']} files"
        query = _QUERY.format(since=row["since"].isoformat())
        findings.append(
            Finding(
                UNREADABLE_SOURCE,
                "warning",
                {"source": source},
                f"{counted} of source {source} cannot be read; the last one was refused at "
                f"{utc(row['last'])} ({row['reason']}). Its rows are missing.",
                row["since"],
                (Evidence("The refused files", table=REFUSED_FILES, query=query),),
            )
        )
    return findings
