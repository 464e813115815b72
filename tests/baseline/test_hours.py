"""What guardrails read of the table `shop_metrics`."""

from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.baseline.hours import read_hours
from lastaisle.baseline.measures import MEASURES
from lastaisle.errors import NotEnoughDataError
from lastaisle.lake import Lake
from lastaisle.lake.tables import EVENTS, TIMESTAMP
from tests.baseline.shop import CHAMPION, OPENED, hours_of, steady, write_figures

ONE = {**CHAMPION, "model_version": "1"}


def test_hours_without_events_are_not_complete(tmp_path):
    """Exposures that come in before their events look like shoppers who order nothing."""
    lake = Lake(str(tmp_path))
    rows = hours_of(steady, ONE, 0, 48)
    at = rows[0]["hour"] + timedelta(hours=30)
    schema = pa.schema([("event_id", pa.string()), ("occurred_at", TIMESTAMP), ("event_date", pa.date32())])
    event = {"event_id": "e", "occurred_at": at, "event_date": at.date()}
    lake.append(EVENTS, pa.Table.from_pylist([event], schema), key="events")
    write_figures(lake, rows)
    assert read_hours(lake, maturity_hours=0).complete_until == OPENED + 30
    assert read_hours(lake, maturity_hours=2).complete_until == OPENED + 28


def test_the_sums_of_a_measure_are_those_of_the_table(tmp_path):
    lake = Lake(str(tmp_path))
    rows = hours_of(steady, ONE, 0, 30)
    write_figures(lake, rows)
    shop = read_hours(lake, maturity_hours=0)
    for measure in MEASURES.values():
        series = shop.series(measure, shop.of_champions())
        assert series.totals.sum() == pytest.approx(sum(row.get(measure.part, 0) for row in rows))
        assert series.units.sum() == pytest.approx(sum(row.get(measure.whole, 0) for row in rows))
        assert len(series.hours) == 30


def test_revenue_counts_in_the_currency_in_which_most_is_earned(tmp_path):
    lake = Lake(str(tmp_path))
    rows = hours_of(steady, ONE, 0, 30)
    other = [{**row, "currency": "SEK", "revenue": 1.0} for row in rows if "currency" in row]
    write_figures(lake, [*rows, *other])
    shop = read_hours(lake, maturity_hours=0)
    assert shop.currency == "EUR"
    assert sum(shop.rows["revenue"].to_pylist()) == pytest.approx(sum(row.get("revenue", 0) for row in rows))


def test_a_lake_without_figures_says_which_command_fills_it(tmp_path):
    with pytest.raises(NotEnoughDataError, match="lastaisle attribute"):
        read_hours(Lake(str(tmp_path)), maturity_hours=0)
