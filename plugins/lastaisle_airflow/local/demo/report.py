"""Print the demo's results: a row for each day, the ledger, a prediction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.table import Table

from lastaisle.lake.tables import EVENTS
from lastaisle.lake.workspace import open_tables

if TYPE_CHECKING:
    from lastaisle.evaluation.report import EvaluationReport
    from lastaisle.lake import Lake
    from lastaisle.registry.ledger import Move

MODELS = ("champion", "candidate", "popularity", "cooccurrence")
_DAYS = """
WITH first_seen AS (
    SELECT item_id, min(event_date) AS day FROM events WHERE item_id IS NOT NULL GROUP BY item_id
)
SELECT (SELECT count(DISTINCT session_id) FROM events WHERE event_date = $day) AS sessions,
       (SELECT count(*) FROM first_seen WHERE day = $day) AS new_items
"""


@dataclass(frozen=True)
class DayRow:
    """One day of the demo.

    Attributes:
        day: 2025-10-01.
        sessions: sessions with an event on that day.
        new_items: items seen for the first time.
        report: the evaluation; None where nothing was trained.
        decision: the gate's decision.
        work: seconds in which a task of ingestion or training ran.
        overhead: seconds of these runs in which no task ran.
    """

    day: str
    sessions: int
    new_items: int
    report: EvaluationReport | None
    decision: str
    work: float
    overhead: float


def count_day(lake: Lake, day: str) -> tuple[int, int]:
    """Return the number of sessions of a day, and of items first seen on it."""
    with open_tables(events=lake.dataset(EVENTS)) as connection:
        row = connection.execute(_DAYS, {"day": day}).fetchone()
    assert row is not None  # an aggregate always gives one row
    return int(row[0]), int(row[1])


def sample_session(lake: Lake, day: str) -> list[str]:
    """Return the items of one session of a day, oldest first: three to five different items."""
    with open_tables(events=lake.dataset(EVENTS)) as connection:
        row = connection.execute(
            "SELECT list(item_id ORDER BY occurred_at, sequence) FROM events "
            "WHERE event_date = $day AND event_type = 'item_viewed' GROUP BY session_id "
            "HAVING count(*) BETWEEN 3 AND 5 AND count(DISTINCT item_id) = count(*) "
            "ORDER BY max(occurred_at) DESC, session_id LIMIT 1",
            {"day": day},
        ).fetchone()
    return list(row[0]) if row else []


def _figures(report: EvaluationReport | None, model: str) -> str:
    if report is None or model not in report.models:
        return "-"
    metrics = report.served_scores(model).metrics
    return f"{metrics['precision@20'].value:.4f}  {metrics['recall@20'].value:.3f}"


def print_day(console: Console, row: DayRow, *, first: bool) -> None:
    """Print one line of the table of days; the first line has the heading above it."""
    table = Table(show_header=first, box=None, padding=(0, 1, 0, 0), header_style="bold")
    columns = {"day": 10, "sessions": 8, "new items": 9}
    columns |= {f"{model}\np@20    r@20": 13 for model in MODELS}
    columns |= {"decision": 12, "work s": 6, "Airflow s": 9}
    for name, width in columns.items():
        side: Literal["left", "right"] = "left" if name in ("day", "decision") else "right"
        table.add_column(name, width=width, justify=side, no_wrap=True)
    colour = {"prom": "green", "fail": "red", "refu": "yellow"}.get(row.decision[:4], "default")
    table.add_row(
        row.day,
        f"{row.sessions:,}",
        f"{row.new_items:,}",
        *(_figures(row.report, model) for model in MODELS),
        f"[{colour}]{row.decision}[/]",
        f"{row.work:.1f}",
        f"{row.overhead:.1f}",
    )
    console.print(table)


def print_ledger(console: Console, moves: tuple[Move, ...]) -> None:
    """Print the moves of the champion; registrations are left out."""
    table = Table(title="The ledger (table releases)", title_justify="left", box=None, padding=(0, 1))
    for name in ("when", "action", "from", "to", "by", "why"):
        table.add_column(
            name, no_wrap=name != "why", overflow="ellipsis", max_width=34 if name == "by" else None
        )
    for move in moves:
        if move.action == "register":
            continue
        why = move.reason if len(move.reason) < 160 else f"{move.reason[:157]}..."
        dag = move.actor.removeprefix("airflow:").split("/")[0]
        table.add_row(
            f"{move.moved_at:%H:%M:%S}", move.action, move.from_version or "-", move.to_version, dag, why
        )
    console.print(table)


def print_prediction(console: Console, items: list[str], answer: dict[str, Any]) -> None:
    """Print the served model's recommendations for one session."""
    console.print(f"  session  {' → '.join(items)}", highlight=False)
    shown = ", ".join(
        f"{item} ({score:.2f})" for item, score in zip(answer["items"], answer["scores"], strict=True)
    )
    console.print(f"  next     {shown}", highlight=False)
