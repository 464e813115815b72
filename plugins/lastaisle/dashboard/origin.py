"""Where a figure of a page comes from, so that a reader can compute it again."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Origin:
    """Where figures come from. A page lists its origins at its end, and each figure links to its own.

    Attributes:
        name: names the origin on its page, such as "ctr"; letters, digits and dashes.
        text: one sentence.
        table: the table of the lake; None if there is none.
        version: the version of the table that was read.
        query: the SQL or the command that gives the same figures.
        run_id: the run of MLflow; None if there is none.
    """

    name: str
    text: str
    table: str | None = None
    version: int | None = None
    query: str | None = None
    run_id: str | None = None
