"""Where exposures lie: the place that the settings name, or where the service keeps its feedback."""

from __future__ import annotations

from dataclasses import dataclass

from lastaisle.feedback.exposures.formats import FEEDBACK
from lastaisle.feedback.exposures.segment import NAME as SEGMENT
from lastaisle.settings import Settings


@dataclass(frozen=True)
class ExposureSource:
    """One place of exposures.

    Attributes:
        address: a file, a folder, a pattern, a URL, or kafka://cluster/topic; it may hold placeholders such
            as {day}.
        format: the name of its format.
        is_named: whether LASTAISLE_EXPOSURES names it. Any other place may have nothing yet.
    """

    address: str
    format: str
    is_named: bool = False


def exposure_sources(settings: Settings) -> list[ExposureSource]:
    """Return the places of exposures that the settings name.

    The first is LASTAISLE_EXPOSURES, else where the service keeps its feedback. If the sessions come in the
    format of Segment, their source holds product lists, too.
    """
    feedback = settings.feedback
    if feedback.exposures:
        found = [ExposureSource(feedback.exposures, feedback.format, is_named=True)]
    else:
        found = [ExposureSource(settings.serve.feedback, FEEDBACK.name)]
    sessions = ExposureSource(settings.sources.address, SEGMENT)
    if settings.sources.format == SEGMENT and all(
        (known.address, known.format) != (sessions.address, sessions.format) for known in found
    ):
        found.append(sessions)
    return found
