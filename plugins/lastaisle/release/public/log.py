"""The text for the public of a version: made from its run, and logged as artifacts of its run."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final

from lastaisle.release.card.page import card_page
from lastaisle.release.public.text import PublicFacts, public_text

if TYPE_CHECKING:
    from lastaisle.registry.registry import Registry

MARKDOWN: Final = "public/public.md"
PAGE: Final = "public/public.html"
TAG: Final = "lastaisle.public_text"


def facts_of(version: str, registry: Registry) -> PublicFacts:
    """Return what the text of a version is written from, by the run and the present settings.

    Raises:
        RegistryError: no such version.
    """
    run_id = registry.run_of(version)
    return PublicFacts(
        version=version,
        plan=registry.plan_of(run_id),
        tags=registry.tags(run_id),
        measured=registry.metrics(run_id),
        trained_at=datetime.fromtimestamp(registry.times(run_id)[1] / 1000, UTC),
        settings=registry.settings,
    )


def public_page(facts: PublicFacts) -> str:
    """Return the text as an HTML page that loads nothing."""
    return card_page(facts.title, public_text(facts), {})


def log_public_text(version: str, registry: Registry) -> None:
    """Log both forms of the text to the run of a version, and name them at the version."""
    facts, run_id = facts_of(version, registry), registry.run_of(version)
    registry.log_text(run_id, public_text(facts), MARKDOWN)
    registry.log_text(run_id, public_page(facts), PAGE)
    registry.set_version_tags(version, {TAG: f"runs:/{run_id}/{PAGE}"})
