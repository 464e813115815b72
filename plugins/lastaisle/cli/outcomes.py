"""The command that attributes the actions of shoppers to exposures.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

from typing import Annotated

import typer

from lastaisle.cli.options import LakeUrl, Report
from lastaisle.cli.terminal import bar, errors, read_settings, show, where_searched


def attribute(
    every_day: Annotated[
        bool, typer.Option("--all", help="Attribute all days again, not only the days that may have changed.")
    ] = False,
    lake: LakeUrl = "",
    report: Report = None,
) -> None:
    """Attribute clicks, views, cart additions and orders to the items that were shown, and count them.

    It brings the tables outcomes, unattributed and shop_metrics up to date. Without news it changes nothing.
    Exits with 4, and changes nothing, if items shown or clicks are missing in the outcomes.
    """
    from lastaisle.feedback.metrics.count import count_metrics
    from lastaisle.feedback.outcomes.attribute import attribute as run
    from lastaisle.lake.opening import open_lake

    settings = read_settings(lake)
    tables = open_lake(settings)
    with bar("Attributing") as progress:
        attributed = run(tables, settings, every_day=every_day, progress=progress)
        counted = count_metrics(tables, days=attributed.days if every_day else None, progress=progress)
    if "exposures" not in attributed.versions:
        errors.print(
            f"the lake {tables.url} has no exposures: ingest some by lastaisle exposures ingest. "
            + where_searched(),
            markup=False,
            highlight=False,
            soft_wrap=True,
        )
    show(attributed.to_dict() | {"days_counted": [day.isoformat() for day in counted.days]}, report)
