"""The parts of `make demo LOOP=1` that need no service: its options, its finished days, its counts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, date, datetime
from types import SimpleNamespace

import pyarrow as pa
import pytest

from lastaisle.errors import SourceError
from lastaisle.experiments.definition.apply import definitions_of
from lastaisle.experiments.traffic import Arm, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.lake.tables import EXPOSURE_BATCHES, EXPOSURES, OUTCOMES, UNATTRIBUTED
from lastaisle.registry.ledger import CANARY, PROMOTE, RETIRE, Ledger, Move
from lastaisle.release.steps.rules import release_rules
from lastaisle.settings import Settings
from lastaisle.simulate import ShopOptions, simulate
from lastaisle_airflow.local.loop import __main__ as command
from lastaisle_airflow.local.loop.counts import reconcile
from lastaisle_airflow.local.loop.shop import SPOILED, LoopShop
from lastaisle_airflow.local.loop.story import BANDIT, EXPERIMENT, Story, write_definitions

SHOP = ShopOptions(days=3, sessions_per_day=20, items=50)
TRUTH = {
    "total": {
        "shown": 5,
        "expected_clicks": 0.7,
        "stored_shown": 3,
        "stored_clicked": 2,
        "stored_added": 1,
        "stored_bought": 0,
    }
}


class Live:
    """Stands for the live shop: each day is a plain day; a day with lists has a truth."""

    def __init__(self) -> None:
        self.days = list(simulate(SHOP))
        self.visited: list[int] = []

    def plain_day(self, number: int):
        self.visited.append(number)
        return self.days[number]

    def day(self, number: int, progress=None):
        self.visited.append(number)
        return SimpleNamespace(logs=self.days[number], truth=SimpleNamespace(as_dict=lambda: TRUTH))


@pytest.fixture
def open_shop(tmp_path, monkeypatch):
    live = Live()
    monkeypatch.setattr(LoopShop, "_shop", lambda self: live)

    def open_one(options: ShopOptions = SHOP) -> LoopShop:
        shop = LoopShop(Settings.of(home=tmp_path), options)
        shop.live = live
        return shop

    return open_one


def nothing(done: int, every: int) -> None:
    """Show no progress."""


def test_a_finished_day_is_kept_for_the_next_start_and_a_cut_day_is_not(open_shop, tmp_path, monkeypatch):
    shop = open_shop()
    first, second = shop.open(0, nothing), shop.open(1, nothing)
    assert (first.truth, second.truth) == (None, TRUTH)
    with monkeypatch.context() as cut:
        cut.setattr(shop.live, "day", lambda *_, **__: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            shop.open(2, nothing)
    again = open_shop()
    assert [again.finished(number) for number in range(3)] == [first, second, None]
    landed = {path.name: len(list(path.iterdir())) for path in sorted((tmp_path / "landing").iterdir())}
    assert landed == {"2025-10-01": 1, "2025-10-02": 1}


def test_the_seconds_of_the_service_are_kept_with_the_day(open_shop):
    shop = open_shop()
    noted = shop.note(0, shop.open(0, nothing), followed=1.5)
    assert open_shop().finished(0) == noted
    assert noted.followed == 1.5


def test_a_day_is_not_over_while_feedback_is_not_published(open_shop, tmp_path, monkeypatch):
    shop = open_shop()
    monkeypatch.setattr("lastaisle_airflow.local.loop.shop.PUBLISHED_TIMEOUT", 0.2)
    feedback = tmp_path / "feedback" / "2025-10-02"
    feedback.mkdir(parents=True)
    (feedback / "feedback-1.jsonl.inprogress").touch()
    with pytest.raises(Exception, match=r"keeps feedback open in .*feedback for more than 0 s"):
        shop.open(1, nothing)
    assert shop.finished(1) is None


def test_more_days_of_the_same_shop_may_follow_but_no_days_of_another_shop(open_shop):
    open_shop().open(0, nothing)
    assert open_shop(replace(SHOP, days=9)).finished(0)
    with pytest.raises(SourceError, match="sessions_per_day 20 and not 21: choose another LASTAISLE_HOME"):
        open_shop(replace(SHOP, sessions_per_day=21))


@pytest.mark.parametrize("arguments", [["--logs", "a.tsv"], ["--format", "otto"], ["--days", "0"]])
def test_real_logs_and_no_days_are_refused_with_a_reason(arguments, capsys):
    with pytest.raises(SystemExit):
        command.options(arguments)
    assert "cannot react" in capsys.readouterr().err or arguments[0] == "--days"


def test_the_loop_keeps_all_its_files_in_its_own_home(tmp_path, monkeypatch):
    monkeypatch.setenv("LASTAISLE_SERVE_FEEDBACK", "/elsewhere")
    monkeypatch.setenv("LASTAISLE_SOURCE", "kafka://shop/clicks")
    settings = command.loop_settings(tmp_path)
    assert settings.serve.feedback == str(tmp_path / "feedback" / "{day}")
    assert settings.sources.address == str(tmp_path / "landing" / "{day}")
    assert settings.feedback.exposures == ""


def dated(name: str, values: list[object], kind: pa.DataType) -> pa.Table:
    """A table of one column, and the day by which tables are partitioned."""
    return pa.table({name: pa.array(values, kind), "event_date": [date(2025, 10, 2)] * len(values)})


def kinds(**counted: int) -> pa.Table:
    return dated("kind", [kind for kind, count in counted.items() for _ in range(count)], pa.string())


def lake_of(tmp_path, *, shown=3, quarantined=0, clicks=(2, 0, 0), unattributed=0) -> Lake:
    lake = Lake(tmp_path / "lake")
    for name, rows in {
        EXPOSURES: kinds(shown=shown, clicked=2, added=1),
        EXPOSURE_BATCHES: pa.table({"rows_quarantined": [quarantined], "rows_duplicate": [4]}),
        OUTCOMES: dated("clicks", list(clicks), pa.int32()),
        UNATTRIBUTED: kinds(clicked=unattributed, added=1),
    }.items():
        lake.append(name, rows, key="test")
    return lake


def test_counts_that_add_up_are_told_with_their_numbers(tmp_path):
    found = reconcile(lake_of(tmp_path), [TRUTH])
    assert found.differences == []
    assert found.sentences == [
        "5 items on the screen = 3 stored + 2 without consent, which are not stored",
        "6 rows of feedback = 6 clean + 0 quarantined; 4 more arrived twice",
        "3 exposures = 3 outcomes",
        "2 clicks = 2 attributed + 0 unattributed",
    ]


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"shown": 2, "clicks": (2, 0)}, "knows of 6 stored rows, but exposures has 5 and quarantine 0"),
        ({"shown": 2, "quarantined": 1}, "exposures has 2 shown items, outcomes 3"),
        ({"clicks": (1, 0, 0)}, "exposures has 2 clicks, outcomes 1 and unattributed 0"),
        ({"unattributed": 1}, "exposures has 2 clicks, outcomes 2 and unattributed 1"),
    ],
)
def test_each_count_that_does_not_add_up_is_named(tmp_path, changed, told):
    (difference,) = reconcile(lake_of(tmp_path, **changed), [TRUTH]).differences
    assert told in difference


def test_the_definitions_of_the_loop_can_be_used(tmp_path):
    settings = command.loop_settings(tmp_path)
    write_definitions(settings)
    found = definitions_of(settings)
    assert (found.refused, {one.name for one in found.found}) == ((), {EXPERIMENT, BANDIT})
    assert release_rules(settings).first == "shadow"


def test_the_page_shows_a_version_badly_from_the_next_day_on_and_after_a_new_start(open_shop):
    shop = open_shop()
    assert shop.spoiled == {}
    shop.spoil("5")
    assert open_shop().spoiled == {"5": SPOILED}


def move(action: str, to_version: str, from_version: str | None = None) -> Move:
    return Move(
        move_id=f"{action}/{to_version}",
        moved_at=datetime.now(UTC),
        actor="tests",
        action=action,
        model_name="m",
        alias={CANARY: "canary", RETIRE: "canary"}.get(action, "champion"),
        from_version=from_version,
        to_version=to_version,
        reason="CTR fell by 60 %. The interval is [-70 %, -50 %].",
        run_id="r",
        run_key="k",
    )


def test_the_story_tells_each_decision_once(tmp_path):
    lake = Lake(tmp_path / "lake")
    ledger = Ledger(lake, "m")
    ledger.write(move(PROMOTE, "1"))
    story = Story(lake, "m")
    assert story.told() == [], "what was decided before the loop began is told already"
    ledger.write(move(CANARY, "3"))
    assert story.told() == ["v3 answers a share of the shoppers"]
    ledger.write(move(RETIRE, "3", "3"))
    arms = (Arm(name="champion"), Arm(name="refused", version="2"))
    trial = Trial(name=EXPERIMENT, kind="experiment", arms=arms, starts_at=datetime.now(UTC))
    write_move(
        lake,
        TrafficMove(
            "end", datetime(2025, 10, 3, tzinfo=UTC), "decided", trial, "The champion wins.", "tests"
        ),
        read_traffic(lake),
    )
    assert story.told() == [
        "experiment versions is over: The champion wins.",
        "v3 is taken back: CTR fell by 60 %",
    ]
    assert story.told() == []
