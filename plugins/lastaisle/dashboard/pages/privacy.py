"""The page Privacy: the pseudonym keys, how long rows are kept, and consent; figures alone, no shopper."""

from __future__ import annotations

from datetime import UTC, datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.figures.privacy import consent_chart, read_consent, read_kept, read_keys
from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.render import PagesOf, attempt, known
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import EVENTS, RAW_EVENTS

router = APIRouter()


@router.get("/privacy")
def privacy(request: Request, pages: PagesOf) -> HTMLResponse:
    """Show the page."""
    source, today = pages.source, pages.now().date()
    consent = attempt(lambda: read_consent(source))
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
                query="SELECT event_date, avg(consent_analytics::DOUBLE), "
                "avg(consent_personalization::DOUBLE)\n"
                f"FROM {EVENTS} GROUP BY event_date ORDER BY event_date",
            ),
        ],
    )


def begin(source: Source) -> None:
    """Read what the page shows, before somebody asks."""
    read_keys(source)
    read_kept(source, datetime.now(UTC).date())
    read_consent(source)
