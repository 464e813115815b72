"""How fast are the pages of the dashboard, with a year of figures, 500 versions and 50 experiments?

    python benchmarks/dashboard.py [--home FOLDER] [--versions 500] [--experiments 50] [--requests 20]

Makes a simulated year (about four million rows of hourly figures) in a temporary folder, or in FOLDER, where
a second call finds it again. Then each page is asked of a process of its own, `lastaisle dashboard`: at once
after the start, and when all its parts are there. Chromium tells when a page is first painted. Targets: each
answer below 1 s, and the first paint below 0.5 s. Takes some minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Final
from urllib.parse import parse_qs, urlsplit

import httpx
from rich.console import Console
from rich.table import Table

ROOT: Final = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.year.shop import write_events, write_figures  # noqa: E402
from benchmarks.year.trials import write_trials  # noqa: E402
from benchmarks.year.versions import write_versions  # noqa: E402
from lastaisle.dashboard.render import MENU  # noqa: E402
from lastaisle.lake.opening import open_lake  # noqa: E402
from lastaisle.registry.registry import Registry  # noqa: E402
from lastaisle.settings import Settings  # noqa: E402
from tests.services.chromium import Browser, browser  # noqa: E402

ANSWER: Final = 1.0
PAINT: Final = 0.5
PATIENCE: Final = 600.0
MORE: Final = ("/shop?period=364-day&by=version", "/shop?period=7-hour&by=arm", "/quality?k=5")

out = Console(stderr=True)


def make_year(home: Path, versions: int, experiments: int) -> None:
    """Make the simulated year, unless the folder has one."""
    mark = home / "made.json"
    wanted = {"versions": versions, "experiments": experiments}
    if mark.exists() and json.loads(mark.read_text()) == wanted:
        return
    settings = Settings.of(home=home)
    lake, began = open_lake(settings), time.monotonic()
    rows = write_figures(lake, versions, experiments)
    out.print(f"{rows:,} rows of hourly figures after {time.monotonic() - began:.0f} s")
    write_events(lake)
    write_trials(lake, experiments)
    write_versions(lake, Registry(settings), versions, out.print)
    mark.write_text(json.dumps(wanted))
    out.print(f"the year is made after {time.monotonic() - began:.0f} s")


@contextmanager
def dashboard(home: Path) -> Iterator[httpx.Client]:
    """Start the dashboard; return a client that has signed in."""
    command = [sys.executable, "-m", "lastaisle.cli", "dashboard", "--port", "0"]
    environment = {**os.environ, "LASTAISLE_HOME": str(home), "COLUMNS": "300"}
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        line = next(line for line in process.stdout if "token=" in line)
        address = urlsplit(line.split("Open ", 1)[1].strip())
        token = parse_qs(address.query)["token"][0]
        base = f"{address.scheme}://{address.netloc}"
        with httpx.Client(base_url=base, headers={"Authorization": f"Bearer {token}"}, timeout=60) as client:
            yield client
    finally:
        process.terminate()
        process.wait()


def seconds_of(client: httpx.Client, path: str) -> tuple[float, httpx.Response]:
    """Return how long an answer takes, and the answer."""
    began = time.perf_counter()
    answer = client.get(path)
    taken = time.perf_counter() - began
    answer.raise_for_status()
    return taken, answer


def measure(home: Path, path: str, requests: int, tab: Browser) -> dict[str, object]:
    """Measure one page in a process of its own."""
    with dashboard(home) as client:
        began = time.perf_counter()
        first, answer = seconds_of(client, path)
        is_whole = "refresh" not in answer.headers
        while "refresh" in answer.headers:
            assert time.perf_counter() - began < PATIENCE, f"{path} is never whole"
            time.sleep(0.2)
            _, answer = seconds_of(client, path)
        whole = time.perf_counter() - began
        later = sorted(seconds_of(client, path)[0] for _ in range(requests))
        token = client.headers["Authorization"].removeprefix("Bearer ")
        tab.open(f"{client.base_url}?token={token}")
        painted = []
        for _ in range(3):
            tab.open(f"{str(client.base_url).rstrip('/')}{path}")
            painted.append(float(tab.run(_PAINTED)) / 1000)
    return {
        "page": path,
        "first": round(first, 3),
        "first_is_whole": is_whole,
        "whole_after": round(whole, 2),
        "median": round(median(later), 4),
        "p99": round(later[-1], 4),
        "first_paint": round(median(painted), 3),
        "bytes": len(answer.content),
        "holds": first < ANSWER and later[-1] < ANSWER and median(painted) < PAINT,
    }


_PAINTED: Final = """new Promise((done) => {
  const look = () => {
    const [paint] = performance.getEntriesByName("first-contentful-paint");
    if (paint) done(paint.startTime); else requestAnimationFrame(look);
  };
  look();
})"""


def main() -> None:
    """Make the year, measure the pages, and print a table and one JSON line a page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--home", type=Path)
    parser.add_argument("--versions", type=int, default=500)
    parser.add_argument("--experiments", type=int, default=50)
    parser.add_argument("--requests", type=int, default=20)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="lastaisle-dashboard-") as folder:
        home = given.home or Path(folder) / "home"
        make_year(home, given.versions, given.experiments)
        profile = Path(folder) / "chromium"
        profile.mkdir()
        with browser(profile) as tab:
            pages = [*(entry.path for entry in MENU), *MORE]
            found = [measure(home, path, given.requests, tab) for path in pages]
    table = Table("page", "first answer", "whole after", "median", "p99", "first paint", "holds")
    for row in found:
        times = (f"{row[name]:.3f} s" for name in ("first", "whole_after", "median", "p99", "first_paint"))
        table.add_row(str(row["page"]), *times, "yes" if row["holds"] else "no")
        print(json.dumps(row))
    out.print(table)


if __name__ == "__main__":
    main()
