"""The rules ctr_drop and conversion_drop on a lake: what they find, and the evidence that they give."""

import re
from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from lastaisle.baseline.hours import moment_of
from lastaisle.lake import Lake
from lastaisle.lake.tables import SHOP_METRICS
from lastaisle.lake.workspace import open_tables
from lastaisle.monitor.alerts.context import Context
from lastaisle.monitor.alerts.model import CONVERSION_DROP, CTR_DROP, id_of
from lastaisle.monitor.alerts.rules.shop_drop import (
    ShopDropOptions,
    check_conversion,
    check_ctr,
    judge_rule,
    why_conversion_ended,
)
from tests.baseline.shop import CHAMPION, OPENED, dropped, hours_of, steady, write_figures

ONE = {**CHAMPION, "model_version": "1"}
HOURS = 28 * 24
START = HOURS - 10
AT_CHECKOUT = (("placement", "checkout"), ("metric", "conversion"))


def context_of(lake, opened=(), **options):
    """Return what a rule gets."""
    given = ShopDropOptions(maturity_hours=0, **options)
    nothing = cast("Any", SimpleNamespace())
    return Context(lake, nothing, nothing, given, datetime(2025, 3, 1, tzinfo=UTC), opened)


@pytest.fixture(scope="module")
def lake(tmp_path_factory):
    """Return a lake whose conversion dropped by 40 % ten hours ago at one of two placements."""
    lake = Lake(str(tmp_path_factory.mktemp("shop")))
    rows = hours_of(dropped(START, 0.4), ONE, 0, HOURS)
    rows += hours_of(steady, {**ONE, "placement": "basket"}, 0, HOURS, seed=1)
    write_figures(lake, rows)
    return lake


@pytest.fixture(scope="module")
def findings(lake):
    """Return what conversion_drop finds, by its scope."""
    return {tuple(found.scope.items()): found for found in check_conversion(context_of(lake))}


def test_a_drop_at_one_placement_is_found_there_and_in_the_whole_shop(findings):
    assert AT_CHECKOUT in findings
    assert (("metric", "conversion"),) in findings
    assert not any("basket" in str(scope) for scope in findings)
    assert all(found.rule == CONVERSION_DROP for found in findings.values())


def test_the_summary_says_the_value_the_drop_and_the_level_before(findings):
    found = findings[AT_CHECKOUT]
    assert found.since == moment_of(OPENED + START)
    assert found.severity == "critical"
    said = re.fullmatch(
        r"Conversion at checkout is ([\d.]+) % since 2025-02-02 14:00 UTC, (\d+) % below the same hours of "
        r"the past 8 weeks \(([\d.]+) %, between ([\d.]+) % and ([\d.]+) %\)\.",
        found.summary,
    )
    value, drop, usual, low, high = map(float, said.groups())
    assert low < usual < high
    assert drop == pytest.approx(40, abs=5)
    assert value / usual == pytest.approx(1 - drop / 100, abs=0.01)


def test_the_query_of_the_evidence_gives_the_figures_of_the_summary(lake, findings):
    first, by_version = findings[AT_CHECKOUT].evidence
    with open_tables(shop_metrics=lake.dataset(SHOP_METRICS)) as connection:
        before, since = connection.execute(first.query).fetchall()
        assert len(connection.execute(by_version.query).fetchall()) == 2
    assert [before[0], since[0]] == [False, True]
    assert since[1] / before[1] == pytest.approx(0.6, abs=0.05)
    assert f"conversion {100 * since[1]:.3g} %" in first.text
    assert "10 hours, from 2025-02-02 14:00 to 2025-02-03 00:00 UTC" in first.text
    assert by_version.text.startswith("Since then: version 1 100 % of the lists, conversion ")


def test_a_mild_drop_is_a_warning(lake):
    found = check_conversion(context_of(lake, critical_drop=0.9))
    assert {one.severity for one in found} == {"warning"}


def test_what_is_usual_is_said_to_be_usual(lake):
    shop, judged = judge_rule(lake, CTR_DROP, context_of(lake).options)
    assert shop is not None
    assert [one.state for one in judged] == ["usual"] * 6
    assert check_ctr(context_of(lake)) == []


def test_a_lake_without_figures_has_no_drop(tmp_path):
    assert check_ctr(context_of(Lake(str(tmp_path)))) == []


def test_few_sessions_say_from_which_traffic_on_a_drop_is_found(tmp_path):
    lake = Lake(str(tmp_path))
    write_figures(lake, hours_of(steady, ONE, 0, HOURS, sessions=30))
    _, judged = judge_rule(lake, CONVERSION_DROP, context_of(lake).options)
    conversion = next(one for one in judged if one.measure.name == "conversion")
    assert conversion.state == "too few sessions"
    said = re.search(
        r"from about ([\d,]+) sessions an hour on; the last week had [23]\d", conversion.sentence
    )
    needed = int(said[1].replace(",", ""))
    assert 200 < needed < 2000
    assert check_conversion(context_of(lake)) == []
    enough = Lake(str(tmp_path / "enough"))
    write_figures(enough, hours_of(steady, ONE, 0, HOURS, sessions=round(1.5 * needed)))
    _, judged = judge_rule(enough, CONVERSION_DROP, context_of(enough).options)
    assert next(one for one in judged if one.measure.name == "conversion").state == "usual"


def test_a_new_shop_is_not_judged(tmp_path):
    lake = Lake(str(tmp_path))
    write_figures(lake, hours_of(steady, ONE, 0, 10 * 24))
    _, judged = judge_rule(lake, CONVERSION_DROP, context_of(lake).options)
    assert {one.state for one in judged} == {"too little history"}
    assert all("less than 14 days" in one.sentence for one in judged)


def test_an_alert_that_ended_says_why(tmp_path):
    lake = Lake(str(tmp_path))
    back = HOURS - 8
    rates = lambda hour: 0.5 if HOURS - 30 <= hour < back else 1.0  # noqa: E731
    write_figures(lake, hours_of(rates, ONE, 0, HOURS))
    scope = dict(AT_CHECKOUT)
    opened = (cast("Any", SimpleNamespace(id=id_of(CONVERSION_DROP, scope))),)
    context = context_of(lake, opened)
    assert check_conversion(context) == []
    (reason,) = why_conversion_ended(context).values()
    assert reason == "Conversion at checkout is back at its usual level since 2025-02-02 16:00 UTC."
