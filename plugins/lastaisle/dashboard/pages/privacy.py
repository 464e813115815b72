"""The page Privacy: keys, ages of rows, consent, requests, budget and the newest audit; no shopper."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, HTTPException, Request
from fastapi.responses import FileResponse, HTMLResponse

from lastaisle.audit.finding import SECTIONS
from lastaisle.audit.page import verdict
from lastaisle.audit.store import FORMS, file_of, folder_of
from lastaisle.dashboard.figures.audits import (
    budget_chart,
    read_accesses,
    read_audit,
    read_budget,
    read_decisions,
    read_requests,
)
from lastaisle.dashboard.figures.privacy import consent_chart, read_consent, read_kept, read_keys
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.render import PagesOf, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import (
    ACCESSES,
    AUDITS,
    CONSENTS,
    EVENTS,
    PRIVACY_SPENT,
    RAW_EVENTS,
    SUBJECT_REQUESTS,
)
from lastaisle.privacy.consents import PURPOSES

router = APIRouter()


@router.get("/privacy")
def privacy(request: Request, pages: PagesOf) -> HTMLResponse:
    """Show the page."""
    source, today = pages.source, pages.now().date()
    consent, audit = attempt(lambda: read_consent(source)), attempt(lambda: read_audit(source))
    newest = known(audit)
    return pages.render(
        request,
        "privacy",
        title="Privacy",
        today=today,
        keys=attempt(lambda: read_keys(source)),
        kept=attempt(lambda: read_kept(source, today)),
        keep_versions=source.settings.lake.keep_versions_days,
        keep_models=source.settings.registry.keep_versions_days,
        consent=consent,
        chart=consent_chart(known(consent) or ()),
        audit=audit,
        verdict=verdict(newest) if newest else "",
        forms=[
            form for form in FORMS if newest and file_of(folder_of(source.settings), newest.audit_id, form)
        ],
        sections=SECTIONS,
        requests=attempt(lambda: read_requests(source, today)),
        decisions=attempt(lambda: read_decisions(source, today)),
        accesses=attempt(lambda: read_accesses(source, today)),
        budget=attempt(lambda: read_budget(source, today)),
        budget_chart=known(attempt(lambda: budget_chart(source))),
        origins=[
            Origin(
                "keys",
                "The events and exposures of each version of the key.",
                EVENTS,
                query="lastaisle keys show",
            ),
            Origin(
                "kept",
                "The oldest rows of each table.",
                RAW_EVENTS,
                query="SELECT min(event_date), count(*) FROM TABLE",
            ),
            Origin(
                "consent",
                "The consent of the events of each day (UTC).",
                EVENTS,
                query="SELECT event_date, "
                + ", ".join(f"avg(consent_{purpose}::DOUBLE)" for purpose in PURPOSES)
                + f"\nFROM {EVENTS} GROUP BY event_date ORDER BY event_date",
            ),
            *_origins_of_audit(),
        ],
    )


def _origins_of_audit() -> list[Origin]:
    """Return where the figures of requests, decisions, accesses, budget and audit come from."""
    told = (
        ("requests", "Every step of the requests of shoppers.", SUBJECT_REQUESTS, "entry"),
        ("decisions", "What shoppers decided about a purpose.", CONSENTS, "recorded_at"),
        ("accesses", "The requests to see data of shoppers.", ACCESSES, "1"),
        ("budget", "What each private training spent.", PRIVACY_SPENT, "finished_at"),
        ("audit", "The findings of the newest audit.", AUDITS, "1"),
    )
    return [
        Origin(name, text, table, query=f"SELECT * FROM {table} ORDER BY {column}")
        for name, text, table, column in told
    ]


@router.get("/privacy/audits/{id}.{form}")
def audit_file(id: str, form: str, pages: PagesOf) -> FileResponse:
    """Send the page of an audit, as HTML or PDF.

    Raises:
        HTTPException: 404, there is no such file.
    """
    path = file_of(folder_of(pages.source.settings), id, form)
    if path is None:
        raise HTTPException(404, "There is no such page of an audit.")
    return FileResponse(path, filename=path.name, content_disposition_type="attachment")


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read_keys(source)
    read_kept(source, datetime.now(UTC).date())
    read_consent(source)
    read_audit(source)
