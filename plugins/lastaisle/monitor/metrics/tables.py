"""Metrics of drift, of alerts, and of the sizes of the tables, by the statistics that Delta keeps."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from datetime import UTC, datetime, time
from typing import TYPE_CHECKING, Final

import pyarrow.compute as pc

from lastaisle.lake.inventory import measure
from lastaisle.lake.tables import ALERTS, DRIFT
from lastaisle.monitor.alerts.log import read_alerts
from lastaisle.monitor.alerts.model import SEVERITIES
from lastaisle.monitor.metrics.families import (
    ALERTS_OPEN,
    ALERTS_SILENCED,
    DRIFT_ALARMS,
    DRIFT_DAY,
    LAKE_BYTES,
    LAKE_FILES,
    LAKE_ROWS,
    LAKE_VERSION,
    LEFT_OUT,
    Sample,
)

if TYPE_CHECKING:
    from lastaisle.lake.reader import LakeReader

DRIFT_READS: Final = (DRIFT,)
ALERTS_PART: Final = "alerts"
ALERT_READS: Final = (ALERTS,)


def read_drift(lake: LakeReader) -> Iterator[Sample]:
    """Yield how many features drifted on the newest day that was compared."""
    rows = lake.scan(DRIFT, ["day", "feature", "alarmed"])
    if not rows.num_rows:
        return
    newest = pc.max(rows["day"])
    alarmed = rows.filter(pc.and_kleene(pc.equal(rows["day"], newest), rows["alarmed"]))
    yield Sample(DRIFT_DAY, datetime.combine(newest.as_py(), time(), UTC).timestamp())
    yield Sample(DRIFT_ALARMS, pc.count_distinct(alarmed["feature"]).as_py())


def read_open_alerts(lake: LakeReader) -> Iterator[Sample]:
    """Yield the number of the open alerts, by severity."""
    read = read_alerts(lake)
    alerts = read.open()
    counts = Counter(alert.severity for alert in alerts if alert.silence is None)
    for severity in SEVERITIES:
        yield Sample(ALERTS_OPEN, counts[severity], (severity,))
    yield Sample(ALERTS_SILENCED, len(alerts) - counts.total())
    yield Sample(LEFT_OUT, len(read.problems), (ALERTS_PART,))


def read_table(lake: LakeReader, name: str) -> Iterator[Sample]:
    """Yield the size of a table, without reading its rows."""
    size = measure(lake, name)
    if size is None:
        return
    if size.rows is not None:
        yield Sample(LAKE_ROWS, size.rows, (name,))
    yield Sample(LAKE_BYTES, size.bytes, (name,))
    yield Sample(LAKE_FILES, size.files, (name,))
    yield Sample(LAKE_VERSION, size.version, (name,))
