"""Does a coarser time keep an observer from finding a shopper in the table events, and what does it cost?

    python benchmarks/reidentification.py [FORMAT=FILE …]

An observer knows one event of a shopper: the item, and when it happened. The benchmark counts the events that
only one shopper has, if times are cut to a second, a minute, five minutes, an hour or a day, or left out. A
shopper is found if one of their events is such an event. The cost of a cut is measured by the pipeline: the
events that count as repeated, the neighbouring events of a session that change their order if files of ten
seconds are ingested, and the recall of co-occurrence on the last tenth of the sessions. Prints a JSON line
for each log and unit, and then a table. The logs are a simulated shop and the logs of LASTAISLE_DATA, by
default. Takes about three minutes.
"""

from __future__ import annotations

import json
import os
import sys
import tempfile
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from data_contracts.contract import load_contract
from data_contracts.document import PACKAGED
from lastaisle.ingest.options import IngestOptions
from lastaisle.ingest.run import ingest
from lastaisle.lake import Lake
from lastaisle.lake.tables import RAW_EVENTS
from lastaisle.lake.workspace import open_tables
from lastaisle.privacy.keys import PseudonymKeys
from lastaisle.sessions.windows import sessions_between
from lastaisle.simulate import ShopOptions, simulate

UNITS = {
    "second": "1 SECOND",
    "minute": "1 MINUTE",
    "five minutes": "5 MINUTES",
    "hour": "1 HOUR",
    "day": "1 DAY",
    "no time": "100000 DAYS",
}
TRAINED = ("second", "minute", "hour")  # a contract may cut to these
PUBLIC = {"yoochoose": "yoochoose-week.tsv", "taobao": "taobao-slice.csv", "rees46": "rees46-slice.csv"}
FOUND = """
WITH seen AS (
    SELECT coalesce(user_id, session_id) AS shopper, item_id,
        time_bucket(INTERVAL {unit}, occurred_at) AS moment
    FROM raw WHERE item_id IS NOT NULL
),
known AS (SELECT *, count(DISTINCT shopper) OVER (PARTITION BY item_id, moment) = 1 AS alone FROM seen)
SELECT count(DISTINCT shopper), count(DISTINCT shopper) FILTER (WHERE alone), avg(alone::INTEGER) FROM known
"""
REORDERED = """
WITH placed AS (
    SELECT coalesce(session_id, user_id) AS session, occurred_at, source_row, sub_row,
        time_bucket(INTERVAL {unit}, occurred_at) AS moment,
        row_number() OVER (
            PARTITION BY time_bucket(INTERVAL 10 SECONDS, occurred_at)
            ORDER BY occurred_at, source_row, sub_row
        ) AS sequence
    FROM raw
),
pairs AS (
    SELECT (moment, sequence) AS here, lead((moment, sequence)) OVER visit AS there FROM placed
    WINDOW visit AS (PARTITION BY session ORDER BY occurred_at, source_row, sub_row)
)
SELECT avg((there < here)::INTEGER) FROM pairs WHERE there IS NOT NULL
"""


def logs(folder: Path, given: list[str]) -> Iterator[tuple[str, str, Path]]:
    """Yield name, format and file of each log."""
    simulated = folder / "simulated.jsonl"
    days = simulate(ShopOptions(days=3))
    simulated.write_text("".join(f"{line}\n" for day in days for line in day.lines), encoding="utf-8")
    yield "simulated", "canonical", simulated
    data = Path(os.environ.get("LASTAISLE_DATA", "../shared/data"))
    for entry in given or [f"{form}={data / name}" for form, name in PUBLIC.items()]:
        form, _, file = entry.partition("=")
        if Path(file).is_file():
            yield form, form, Path(file)
        else:
            print(f"skipped: no file {file}; set LASTAISLE_DATA", file=sys.stderr)


def lake_of(folder: Path, form: str, log: Path, unit: str) -> Lake:
    """Ingest a log into a new lake whose contract cuts times to a unit."""
    text = (PACKAGED / "raw_events.odcs.yaml").read_text(encoding="utf-8")
    before, occurred = text.split("- name: occurred_at", 1)
    contract = folder / f"{unit}.odcs.yaml"
    cut = occurred.replace("{truncate: second}", f"{{truncate: {unit}}}", 1)
    contract.write_text(f"{before}- name: occurred_at{cut}", encoding="utf-8")
    lake, keys = Lake(folder / unit), PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    options = IngestOptions(gx_sample_rows=0)
    ingest(str(log), form, lake, keys, contract=load_contract(contract), options=options)
    return lake


def training(lake: Lake) -> dict[str, Any]:
    """Return the events that sessions keep, and the recall of co-occurrence on the last tenth of them."""
    from models.by_name import create
    from models.data.sequences import next_item_examples
    from models.evaluation.ranking import rank_targets, summarize
    from models.options import TrainingOptions

    log = sessions_between(lake, datetime(2001, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))
    cut = len(log) - max(1, len(log) // 10)
    model = create("cooccurrence", TrainingOptions())
    model.fit(log.select(slice(0, cut)))
    found = summarize(rank_targets(model, next_item_examples(log.select(slice(cut, None)))), (20,))
    return {"sessions": len(log), "events": int(log.n_events), "recall@20": round(found["recall@20"], 4)}


def measure(folder: Path, name: str, form: str, log: Path) -> Iterator[dict[str, Any]]:
    """Yield the figures of one log for each unit."""
    lakes = {unit: lake_of(folder, form, log, unit) for unit in TRAINED}
    raw = lakes["second"].require(RAW_EVENTS)
    for unit, interval in UNITS.items():
        with open_tables(raw=raw) as connection:
            shoppers, found, events = connection.execute(FOUND.format(unit=interval)).fetchall()[0]
            reordered = connection.execute(REORDERED.format(unit=interval)).fetchall()[0][0]
        line = {"log": name, "time": unit, "shoppers": shoppers, "found": found}
        line |= {"found_share": round(found / shoppers, 3), "events_share": round(events, 3)}
        line["reordered_share"] = round(reordered or 0.0, 3)
        yield line | (training(lakes[unit]) if unit in lakes else {})


def main() -> None:
    """Measure every log, and print a line of JSON for each unit and a table."""
    shares = ("found_share", "events_share", "reordered_share")
    columns = ("log", "time", "shoppers", *shares, "events", "recall@20")
    table = Table(*columns)
    with tempfile.TemporaryDirectory(prefix="lastaisle-reidentification-") as folder:
        for name, form, log in logs(Path(folder), sys.argv[1:]):
            place = Path(folder) / name
            place.mkdir()
            for line in measure(place, name, form, log):
                print(json.dumps(line), flush=True)
                table.add_row(*(str(line.get(column, "")) for column in columns))
    Console().print(table)


if __name__ == "__main__":
    main()
