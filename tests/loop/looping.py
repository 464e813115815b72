"""A small loop: a home, a service that runs in earnest, and the commands of a person between them."""

from __future__ import annotations

import json
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.errors import LastaisleError
from lastaisle.lake import Lake
from lastaisle.lake.opening import open_lake
from lastaisle.settings import Settings
from lastaisle.simulate import DayOfLogs, ShopOptions
from lastaisle.simulate.live import LiveService, LiveShop, LiveTruth
from lastaisle.simulate.write import day_file, write_whole
from tests.serve.running import Running
from tests.serve.toys import KEY
from tests.services.waiting import wait_until

#: Every row of the logs arrives once, on its day and undamaged, so that the truth is the whole truth.
SHOP = ShopOptions(
    days=3,
    sessions_per_day=500,
    items=120,
    new_items_per_day=0,
    broken=0.0,
    late=0.0,
    duplicates=0.0,
    bots=0.0,
)
SETTINGS = {
    "LASTAISLE_ARCHITECTURE": "cooccurrence",
    "LASTAISLE_GX_SAMPLE_ROWS": "0",
    "LASTAISLE_MIN_TARGETS": "20",
    "LASTAISLE_MAX_CHURN": "1",
    "LASTAISLE_SERVE_POLL_SECONDS": "2",
    "LASTAISLE_SERVE_FEEDBACK_SECONDS": "0.5",
}


class CutError(LastaisleError):
    """The process of the shop ends here."""


class SmallLoop:
    """A loop whose days a test turns one by one.

    Args:
        folder: an empty folder. The variables of `environ` are set in this process already.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.settings = Settings.from_env()
        self.service = Running(folder)
        self.truths: list[LiveTruth] = []

    @staticmethod
    def environ(folder: Path) -> dict[str, str]:
        """Return the environment variables of all parts of the loop."""
        return {**SETTINGS, "LASTAISLE_HOME": str(folder / "home"), "LASTAISLE_SERVE_KEYS": KEY}

    @property
    def lake(self) -> Lake:
        return open_lake(self.settings)

    def call(self, *arguments: str) -> Any:
        """Run a command of `lastaisle`, and return its report."""
        report = self.folder / "report.json"
        ended = CliRunner().invoke(cli.app, [*arguments, "--report", str(report)], catch_exceptions=False)
        assert ended.exit_code == 0, f"{arguments}: {ended.output}"
        return json.loads(report.read_text())

    def plain_day(self) -> None:
        """Let a day pass without lists."""
        self._take_in(self._open_shop().plain_day(0))

    def cut_day(self, number: int, after: float) -> None:
        """Let a day begin, and cut it after a share of its shoppers."""

        def cut(done: int, every: int) -> None:
            if done > after * every:
                raise CutError

        with pytest.raises(CutError):
            self._open_shop().day(number, progress=cut)

    def live_day(self, number: int) -> None:
        """Let shoppers visit the shop, see lists and react; take in everything, and count it."""
        lived = self._open_shop().day(number)
        self.truths.append(lived.truth)
        wait_until("all feedback is published", self._is_published, timeout=20)
        self._take_in(lived.logs)
        self.call("exposures", "ingest")
        self.call("attribute")

    def learn(self) -> str:
        """Train a candidate, judge it and release it; return the champion's version."""
        run_id = self.call("train")["run_id"]
        self.call("evaluate", "--run-id", run_id)
        released = self.call("release", "--run-id", run_id)
        assert released["promote"], released
        return str(released["aliases"]["champion"])

    def seconds_until_served(self, version: str) -> float:
        """Return after how many seconds the service answers by a version."""
        began = time.monotonic()
        wait_until(
            f"the service serves version {version}",
            lambda: self.service.client.get("/v1/model").json()["version"] == version,
            timeout=30,
        )
        return time.monotonic() - began

    def _open_shop(self) -> LiveShop:
        """Open the shop as a new process does, which goes on with the journal."""
        url = self.service.url or "http://127.0.0.1:9"  # on the first day nobody asks it
        return LiveShop(SHOP, LiveService(url, KEY), journal=self.folder / "journal")

    def _is_published(self) -> bool:
        return not self.service.feedback(".jsonl.inprogress")

    def _take_in(self, logs: DayOfLogs) -> None:
        write_whole(day_file(self.folder / "landing", logs.day), logs.lines)
        taken = self.call("ingest", "--source", str(self.folder / "landing" / logs.day.isoformat()))
        assert taken["rows_clean"] == logs.truth.clean


def counts(rows: list[dict[str, Any]], *names: str, of: str = "") -> Counter[tuple[Any, ...]]:
    """Count rows by some columns, or add up a column by them; zeros are left out."""
    counted: Counter[tuple[Any, ...]] = Counter()
    for row in rows:
        counted[tuple(row[name] for name in names)] += row[of] if of else 1
    return +counted


def true_counts(truths: list[LiveTruth], of: str) -> Counter[tuple[Any, ...]]:
    """Add up one count of the truth by arm, placement and position; zeros are left out."""
    counted: Counter[tuple[Any, ...]] = Counter()
    for truth in truths:
        for cell, position in truth.positions.items():
            counted[cell] += getattr(position, of)
    return +counted
