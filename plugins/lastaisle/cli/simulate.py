"""The simulated shop, which writes logs, and whose shoppers may see the lists of a service.

Imports stand inside the command, so that `--help` and other commands load nothing heavy.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.table import Table

from lastaisle.cli.options import Report, in_reach, writable
from lastaisle.cli.terminal import bar, console, show, write

LIVE_ONLY = ("key_file", "popular_share", "service_arms", "speed", "journal")
Live = Annotated[
    str,
    typer.Option(
        help="Address of a running service, such as http://127.0.0.1:8091: shoppers see its lists and react."
    ),
]
KeyFile = Annotated[
    Path | None,
    typer.Option(help="With --live: file with a key of the service; default: LASTAISLE_SERVE_KEY."),
]
PopularShare = Annotated[
    float,
    typer.Option(help="With --live: share of the shoppers who see popular items.", min=0, max=1),
]
ServiceArms = Annotated[
    bool,
    typer.Option(
        "--service-arms",
        help="With --live: the service assigns shoppers to its arms; the shop runs no experiment.",
    ),
]
Speed = Annotated[
    float,
    typer.Option(help="With --live: simulated seconds a second; 0 is as fast as answered.", min=0),
]
Journal = Annotated[
    Path | None,
    typer.Option(help="With --live: folder that keeps the answers, so that the same command can go on."),
]


def simulate(
    context: typer.Context,
    out: Annotated[Path, typer.Option(help="Folder for the logs; it gets one folder for each day.")],
    days: Annotated[int, typer.Option(help="How many days.")] = 7,
    start: Annotated[
        datetime, typer.Option(help="First day.", formats=["%Y-%m-%d"], callback=in_reach)
    ] = datetime(2025, 10, 1),
    sessions_per_day: Annotated[int, typer.Option(help="Shoppers' sessions on an average day.")] = 3000,
    items: Annotated[int, typer.Option(help="Items in the catalogue at the start.")] = 2000,
    eventful: Annotated[
        bool, typer.Option(help="Add a launch, a price shock and a change of tastes.")
    ] = False,
    seed: Annotated[int, typer.Option(help="The same seed gives the same bytes.")] = 7,
    catalogue: Annotated[
        Path | None,
        typer.Option(help="Also write the catalogue's history to this file (JSON Lines).", callback=writable),
    ] = None,
    live: Live = "",
    key_file: KeyFile = None,
    popular_share: PopularShare = 0.5,
    service_arms: ServiceArms = False,
    speed: Speed = 0.0,
    journal: Journal = None,
    report: Report = None,
) -> None:
    """Write the logs of a simulated shop; the report holds the true counts.

    With --live, the shop asks a service for lists at the cart and at the checkout. Shoppers look, click, add
    and buy, and the pages send feedback. The report then also says what the shoppers saw and did.
    """
    from lastaisle.simulate import ShopOptions, write_logs
    from lastaisle.simulate.live import LiveService, LiveShop, read_key, write_live_logs

    _refuse_without_live(context, live)
    options = ShopOptions(
        seed=seed,
        start=start.date(),
        days=days,
        sessions_per_day=sessions_per_day,
        items=items,
        eventful=eventful,
    )
    if live:
        _refuse_other_days(out, [options.start + timedelta(days=number) for number in range(days)], journal)
    with bar("Simulating") as progress:

        def show_share(number: int, share: float) -> None:
            progress((number + share) / days, f"Simulating {options.start + timedelta(days=number)}")

        if live:
            service = LiveService(live, read_key(os.environ, key_file))
            share = None if service_arms else popular_share
            shop = LiveShop(options, service, popular_share=share, speed=speed, journal=journal)
            written = write_live_logs(out, shop, days, show_share, catalogue=catalogue)
        else:

            def show_day(day: date, _: object) -> None:
                show_share((day - options.start).days, 1.0)

            written = write_logs(out, options, show_day, catalogue=catalogue).as_dict()
    write(written, report)
    show({name: value for name, value in written.items() if name not in ("days", "files", "live")}, None)
    if live:
        _show_lists(written["live"])


def _refuse_without_live(context: typer.Context, live: str) -> None:
    """Refuse an option that would change nothing."""
    for name in LIVE_ONLY:
        source = context.get_parameter_source(name)
        if not live and source is not None and source.name != "DEFAULT":
            raise typer.BadParameter(f"--{name.replace('_', '-')} needs --live, the address of a service")


def _refuse_other_days(out: Path, days: Sequence[date], journal: Path | None) -> None:
    """Refuse days whose logs are there already, unless the journal repeats them as they were."""
    for day in days:
        is_repeated = journal is not None and (journal / f"{day}.jsonl").exists()
        if (out / f"{day}").exists() and not is_repeated:
            raise typer.BadParameter(
                f"{out / f'{day}'} holds logs of that day already. With lists, shoppers do other things "
                "under the same event ids, and ingestion would send these events to quarantine. Begin after "
                "these days with --start, or choose another folder and another lake"
            )


def _show_lists(live: Mapping[str, Any]) -> None:
    """Print what shoppers saw and did, by arm and placement, and how the requests went."""
    table = Table("arm", "placement", "shown", "clicked", "CTR", "added", "ordered", "EUR")
    for row in live["lists"]:
        shown, clicked, added, ordered = (
            f"{row[name]:,}" for name in ("shown", "clicked", "added", "ordered")
        )
        ctr, revenue = f"{row['clicked'] / max(row['shown'], 1):.1%}", f"{row['revenue']:,.0f}"
        table.add_row(row["arm"] or "-", row["placement"], shown, clicked, ctr, added, ordered, revenue)
    console.print(table)
    show({**live["requests"], "problem": live["problem"] or "none"}, None)
