"""The page Today: which version serves, how fresh the data is, what was decided, and what needs a person."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse

from lastaisle.dashboard.origin import Origin
from lastaisle.dashboard.render import PagesOf, attempt
from lastaisle.dashboard.source import Source
from lastaisle.lake.tables import RELEASES
from lastaisle.registry.ledger import Ledger
from lastaisle.release.history import served_times

router = APIRouter()


@dataclass(frozen=True)
class Champion:
    """The version that serves.

    Attributes:
        version: its number.
        since: since when it serves.
        reason: why it became champion.
    """

    version: str
    since: datetime
    reason: str


@router.get("/")
def today(request: Request, pages: PagesOf) -> HTMLResponse:
    """Show the page."""
    source = pages.source
    return pages.render(
        request,
        "today",
        title="Today",
        champion=attempt(lambda: source.once("champion", [RELEASES], lambda: _champion(source))),
        origins=[Origin("champion", "The ledger: each move of a version.", RELEASES)],
    )


def _champion(source: Source) -> Champion | None:
    moves = Ledger(source.lake, source.settings.registry.model_name).moves()
    serving = next((time for time in served_times(moves) if time.until is None), None)
    return None if serving is None else Champion(serving.version, serving.since, serving.began.reason or "")
