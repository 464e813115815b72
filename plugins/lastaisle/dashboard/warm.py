"""Read what the pages show as soon as the dashboard starts, so that the first reader waits less."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

from lastaisle.dashboard.figures.usual import find_usual
from lastaisle.dashboard.pages import data, drift, experiments, privacy, quality, releases, shop, today

if TYPE_CHECKING:
    from lastaisle.dashboard.source import Source


def warm(source: Source) -> None:
    """Begin to read in the background, the small values first; return at once."""
    pages = (today, releases, drift, shop, experiments, data, quality, privacy)
    source.begin(*(partial(page.begin, source) for page in pages), partial(find_usual, source))
