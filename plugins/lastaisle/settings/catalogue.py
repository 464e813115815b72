"""The settings of the catalogue: where the shop's feed lies, and when a run reads it."""

from __future__ import annotations

from typing import Literal

from pydantic import field_validator

from lastaisle.settings.fields import Section, setting

#: The formats of `lastaisle.catalogue.formats`.
CATALOGUE_FORMATS = ("items", "google_merchant")


class CatalogueSettings(Section):
    """What is for sale: where the shop's feed lies, and when a run reads it."""

    address: str = setting(
        "CATALOGUE",
        "",
        "The shop's catalogue: a file, a folder, a pattern or a URL, in which {day} becomes 2014-04-01; or a "
        "Kafka topic of changes: kafka://shop/items.",
        shown_default="none: everything is for sale",
    )
    format: str = setting(
        "CATALOGUE_FORMAT",
        "items",
        "The format of the catalogue: items is JSON Lines, CSV, TSV or Parquet with columns of the usual "
        "names; google_merchant is a feed of Google Merchant Center, as XML or as a table.",
        expected=" or ".join(CATALOGUE_FORMATS),
    )
    content: Literal["full", "changes"] = setting(
        "CATALOGUE_CONTENT",
        "full",
        "Whether each file lists the whole catalogue, so that items which it does not list are removed, or "
        "only the items that changed. Messages of a topic are always changes.",
    )
    cron: str = setting(
        "CATALOGUE_CRON",
        "",
        "When a run of ingest_catalogue starts, such as */10 * * * *.",
        unit="cron",
        shown_default="never by itself",
    )
    max_removed: float = setting(
        "CATALOGUE_MAX_REMOVED",
        0.5,
        "A full file that would remove a greater share of the items for sale than this is refused, since a "
        "cut feed would empty the shop.",
        unit="share",
        ge=0,
        le=1,
    )

    @field_validator("format")
    @classmethod
    def _format_is_known(cls, name: str) -> str:
        if name not in CATALOGUE_FORMATS:
            raise ValueError
        return name
