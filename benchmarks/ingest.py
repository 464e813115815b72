"""How fast is ingestion, in how much memory, and where does the time go?

    python benchmarks/ingest.py              from a file to clean tables, beside DuckDB alone and pandas
    python benchmarks/ingest.py --memory     peak memory for one, two, four and ten times the events
    python benchmarks/ingest.py --kafka      from a local broker to clean tables, and after an outage

Five million events (--events) of about 210 bytes each. One event in a thousand is broken, one in two hundred
arrives twice, and half of the visits send no session id, so that ingestion derives their sessions. Everything
runs on two cores (--cores), after the imports. Takes about a minute; --memory takes ten minutes and 20 GB of
disk. Prints a table, and last a JSON line.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from itertools import islice
from pathlib import Path
from typing import Any

from ingestion.events import EVENTS_A_DAY, check, write_file
from ingestion.from_kafka import measure_kafka
from ingestion.measure import alone, collect_stages, import_first, measured, shares, show_rates, show_stages

PANDAS_EVENTS = 500_000
WHOLE = ".whole"


def measure_files(folder: Path, events: int) -> dict[str, Any]:
    """Measure ingestion, DuckDB and pandas on the same file."""
    path = folder / "log.jsonl"
    bytes_each = alone(write_file, path, events)
    whole = keep_whole_lines(path)
    found = {
        "DuckDB: JSON to zstd Parquet, whole lines only": alone(copy_with_duckdb, whole, events),
        "DuckDB: the same file, cut lines ignored": alone(copy_with_duckdb, path, events),
        "pandas: read_json, whole lines only": alone(read_with_pandas, whole, min(events, PANDAS_EVENTS)),
        "ingest: JSON to clean Delta": alone(ingest_file, path, events),
    }
    duckdb, *_, ours = found.values()
    ratio = ours["events_per_second"] / duckdb["events_per_second"]
    show_rates(found, f"{events:,} events of {bytes_each:.0f} bytes; ingest at {ratio:.2f} of DuckDB's rate")
    show_stages(ours["stages"])
    return {"bytes_per_event": round(bytes_each), "ratio_to_duckdb": round(ratio, 3), "measured": found}


def measure_memory(folder: Path, events: int) -> dict[str, Any]:
    """Measure the peak memory for files of growing size."""
    found = {}
    for times in (1, 2, 4, 10):
        path = folder / f"{times}" / "log.jsonl"
        alone(write_file, path, events * times)
        found[f"{events * times:,} events"] = alone(ingest_file, path, events * times)
        path.unlink()
    show_rates(found, "memory")
    peaks = [one["peak_rss_mib"] for one in found.values()]
    return {"peak_rss_mib": peaks, "measured": found}


def copy_with_duckdb(path: Path, events: int) -> dict[str, float]:
    """Let DuckDB alone copy the file to zstd Parquet."""
    import duckdb

    lenient = "" if WHOLE in path.suffixes else ", ignore_errors = true"
    began = time.perf_counter()
    with duckdb.connect() as connection:
        connection.execute(
            f"COPY (SELECT * FROM read_json('{path}', format = 'newline_delimited'{lenient})) "
            f"TO '{path.with_suffix('.parquet')}' (FORMAT parquet, COMPRESSION zstd)"
        )
    return measured(events, time.perf_counter() - began)


def keep_whole_lines(path: Path) -> Path:
    """Write a copy of the file without cut lines: they make DuckDB take twice as long."""
    whole = path.with_suffix(f"{WHOLE}.jsonl")
    with path.open() as lines, whole.open("w") as kept:
        kept.writelines(line for line in lines if line.endswith("}\n"))
    return whole


def read_with_pandas(path: Path, events: int) -> dict[str, float]:
    """Read a part of the file with pandas, without any other work."""
    import pandas as pd

    part = path.with_suffix(".part.jsonl")
    with path.open() as lines, part.open("w") as kept:
        kept.writelines(islice(lines, events))
    began = time.perf_counter()
    rows = len(pd.read_json(part, lines=True))
    return measured(rows, time.perf_counter() - began)


def ingest_file(path: Path, events: int) -> dict[str, Any]:
    """Ingest the file into clean tables, and check that every row is accounted for."""
    from lastaisle.ingest.run import ingest
    from lastaisle.lake import Lake
    from lastaisle.privacy.keys import PseudonymKeys

    imports = import_first()
    stages = collect_stages()
    folder = Path(tempfile.mkdtemp(dir=path.parent))
    keys = PseudonymKeys.load_or_create(folder / "keys.json", environ={})
    began = time.perf_counter()
    report = ingest(str(path), "canonical", Lake(folder / "lake"), keys).to_dict()
    seconds = time.perf_counter() - began
    check(report, events)
    return measured(events, seconds) | {
        "stages": shares(stages, seconds),
        "import_seconds": imports,
    }


def main() -> None:
    """Run the chosen measurement on the given number of cores."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--events", type=int, default=EVENTS_A_DAY)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--folder", type=Path, help="default: the system's temporary folder")
    modes = parser.add_mutually_exclusive_group()
    modes.add_argument("--memory", dest="mode", action="store_const", const=measure_memory)
    modes.add_argument("--kafka", dest="mode", action="store_const", const=measure_kafka)
    parser.set_defaults(mode=measure_files)
    options = parser.parse_args()
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    with tempfile.TemporaryDirectory(prefix="lastaisle-bench-", dir=options.folder) as folder:
        found = options.mode(Path(folder), options.events)
    print(json.dumps({"cores": options.cores, **found}))


if __name__ == "__main__":
    main()
