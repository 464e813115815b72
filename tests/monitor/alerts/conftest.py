"""A lake at a known moment, and a way to let one rule look at it."""

import shutil
from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.lake import Lake, tables
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.context import Context
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.monitor.alerts.raise_alerts import raise_alerts
from lastaisle.monitor.alerts.rules.registered import BY_NAME
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings

NOW = datetime(2026, 11, 24, 12, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
SCHEMAS = {
    tables.BATCHES: tables.BATCHES_SCHEMA,
    tables.EXPOSURE_BATCHES: tables.EXPOSURE_BATCHES_SCHEMA,
    tables.FILES: tables.FILES_SCHEMA,
    tables.REFUSED_FILES: tables.REFUSED_FILES_SCHEMA,
    tables.DRIFT: tables.DRIFT_SCHEMA,
    tables.GAPS: tables.GAPS_SCHEMA,
    tables.ANNOUNCEMENTS: tables.ANNOUNCEMENTS_SCHEMA,
}


class World:
    """A home with its lake, and the clock of the tests."""

    def __init__(self, home):
        self.settings = Settings.of(home=home)
        self.lake = Lake(self.settings.lake.url)
        self.now = NOW
        self.config = AlertConfig()
        self._written = 0
        self._registry = None

    def registry(self):
        self._registry = self._registry or Registry(self.settings)
        return self._registry

    def add(self, table, *rows):
        self._written += 1
        self.lake.append(
            table, pa.Table.from_pylist(list(rows), schema=SCHEMAS[table]), key=f"{self._written}"
        )

    def bring(self, *arrivals, source="canonical /logs/{day}", table=tables.BATCHES, **values):
        """Add a batch for each moment of arrival, with the hour before it as the hour of its events."""
        rows = [
            {
                "batch_id": f"{source} {at}",
                "source": source,
                "source_file": f"/logs/{at:%Y-%m-%d}/log.jsonl",
                "rows_in": 1000,
                "rows_clean": 1000,
                "rows_quarantined": 0,
                "hours": [f"{at - HOUR:%Y-%m-%dT%H}"],
                "newest": at - HOUR,
                "started_at": at,
                "finished_at": at,
                **values,
            }
            for at in arrivals
        ]
        self.add(table, *rows)

    def check(self, name, **options):
        """Return what a rule finds, by scope."""
        rule = BY_NAME[name]
        open_ = [alert for alert in read_alerts(self.lake).open(self.now) if alert.rule == name]
        context = Context(self.lake, self.registry, self.settings, rule.options(**options), self.now, open_)
        findings = list(rule.check(context))
        assert all(finding.rule == name for finding in findings)
        return {tuple(finding.scope.items()): finding for finding in findings}

    def run(self, *names, config=None, **options):
        """Raise the alerts of the rules of these names; return the report."""
        return self.run_rules(tuple(BY_NAME[name] for name in names), config, **options)

    def run_rules(self, rules, config=None, **options):
        """Raise the alerts of rules; return the report."""
        return raise_alerts(
            self.lake,
            self.registry,
            self.settings,
            config or self.config,
            now=self.now,
            rules=rules,
            **options,
        )


@pytest.fixture
def world(empty_store, tmp_path):
    (tmp_path / "mlflow").mkdir()
    shutil.copy(empty_store, tmp_path / "mlflow")
    return World(tmp_path)
