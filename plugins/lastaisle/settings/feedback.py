"""The settings of what comes back: where exposures lie, and which actions follow from them."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from lastaisle.settings.fields import Section, setting

#: The formats of `lastaisle.feedback.exposures.formats`.
EXPOSURE_FORMATS = ("feedback", "exposures", "segment")


class FeedbackSettings(Section):
    """What shoppers saw and did: where exposures lie, and which actions follow from them."""

    exposures: str = setting(
        "EXPOSURES",
        "",
        "The exposures: a file, a folder, a pattern or a URL of files, or topics: kafka://shop/exposures.",
        shown_default="the feedback that the service keeps",
    )
    format: str = setting(
        "EXPOSURES_FORMAT",
        "feedback",
        "The format of the exposures: feedback is what the service keeps; exposures is JSON Lines, CSV, TSV "
        "or Parquet with one row an item; segment is Segment's Product List Viewed and Product Clicked.",
        expected=", ".join(EXPOSURE_FORMATS[:-1]) + " or " + EXPOSURE_FORMATS[-1],
    )
    hours: int = setting(
        "ATTRIBUTION_HOURS",
        24,
        "How long after an exposure an action of the same shopper in another session may follow from it; "
        "0 joins within the session only.",
        unit="hours",
        ge=0,
        le=720,
    )
    segment: Literal["device_type", "country", "returning"] = setting(
        "METRICS_SEGMENT",
        "device_type",
        "By what the shop's figures split sessions into segments.",
    )

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str) -> str:
        if name not in EXPOSURE_FORMATS:
            raise ValueError
        return name
