"""Only versions that nothing needs are deleted."""

from datetime import UTC, datetime, timedelta

import pyarrow as pa
import pytest

from lastaisle.experiments.traffic import Arm, Mix, TrafficMove, Trial, read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError
from lastaisle.registry.ledger import PRUNE, Ledger
from lastaisle.release import prune as pruning
from lastaisle.release.prune import prune
from tests.registry.test_ledger import move
from tests.release.test_by_hand import Aliases

OLD, NOW = datetime(2025, 1, 1, tzinfo=UTC), datetime(2025, 10, 9, tzinfo=UTC)


class Registry(Aliases):
    """A registry whose versions and runs can be deleted."""

    def __init__(self):
        super().__init__()
        self.deleted = []

    def aliases(self):
        return dict(self.held)

    def all_versions(self):
        return sorted(self.versions)

    def delete_version(self, version):
        self.versions.discard(version)
        self.deleted.append(f"version {version}")

    def delete_run(self, run_id):
        self.deleted.append(run_id)


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """Versions 1 to 4 were promoted long ago, and 5 is not in the ledger; 4 is champion and 3 previous."""
    monkeypatch.setattr(pruning, "sync_aliases", lambda *_: None)
    ledger, registry = Ledger(Lake(str(tmp_path)), "checkout-recommender"), Registry()
    for number in range(1, 5):
        add(ledger, "promote", str(number), OLD)
    registry.set_as(ledger)
    return ledger, registry


def add(ledger, action, version, moment):
    number, holder = len(ledger.moves()), ledger.standing().champion
    row = move(action, holder, version, f"m{number}")
    ledger.write(type(row)(**{**vars(row), "moved_at": moment, "run_id": f"run {version}"}))


def run_trial(ledger, moment, state="running", **arm):
    log = read_traffic(ledger.lake)
    trial = Trial(name="headline", kind="experiment", arms=(Arm(name="a", **arm),), starts_at=OLD)
    write_move(ledger.lake, TrafficMove(f"t{len(log.moves)}", moment, state, trial, "why", "t"), log)


def pruned(shop, **options):
    ledger, registry = shop
    return prune(ledger.lake, registry, **{"days": 90, "now": NOW, "actor": "tester", **options})


def test_old_versions_without_an_alias_go_and_all_others_stay(shop):
    report = pruned(shop)
    assert report.pruned == ("1", "2")
    assert report.kept == {
        "3": "the alias previous",
        "4": "the alias champion",
        "5": "the ledger does not know it",
    }
    assert shop[1].deleted == [], "a dry run"


def test_zero_days_keep_all_versions(shop):
    assert pruned(shop, days=0).pruned == ()


def test_an_alias_of_people_keeps_a_version(shop):
    shop[1].held["shown-at-the-fair"] = "1"
    assert pruned(shop).kept["1"] == "the alias shown-at-the-fair"


def test_versions_of_newer_rows_and_of_the_standing_before_them_are_kept(shop):
    ledger, registry = shop
    add(ledger, "rollback", "1", NOW - timedelta(days=89))
    registry.set_as(ledger)
    report = pruned(shop)
    assert report.pruned == ("2",)
    assert report.kept["4"] == report.kept["3"] == "the ledger names it since 2025-07-11"
    assert report.kept["1"] == "the alias champion"


@pytest.mark.parametrize(
    ("arm", "state", "days", "kept"),
    [
        ({"version": "1"}, "running", 400, True),
        ({"mix": Mix(positions=(2,), version="1")}, "running", 400, True),
        ({"version": "1"}, "stopped", 400, False),
        ({"version": "1"}, "stopped", 89, True),
    ],
)
def test_versions_of_trials_that_run_or_ended_lately_are_kept(shop, arm, state, days, kept):
    run_trial(shop[0], NOW - timedelta(days=500), **arm)
    run_trial(shop[0], NOW - timedelta(days=days), state, **arm)
    assert ("1" not in pruned(shop).pruned) is kept


def test_nothing_is_deleted_while_a_trial_cannot_be_read(shop):
    run_trial(shop[0], NOW, version="1")
    table = shop[0].lake.scan("traffic")
    broken = table.set_column(table.schema.get_field_index("trial"), "trial", pa.array(["{"]))
    shop[0].lake.overwrite("traffic", broken, key="by hand")
    with pytest.raises(LakeUnusableError, match="cannot be read"):
        pruned(shop, dry_run=False)
    assert shop[1].deleted == []


def test_the_start_of_a_kept_version_is_kept(shop):
    runs = pa.table({"run_id": ["run 3", "run 2"], "warm_start_version": ["2", "1"]})
    shop[0].lake.append("training_runs", runs, key="trainings")
    report = pruned(shop)
    assert (report.pruned, report.kept["2"]) == (("1",), "version 3 started from it")


def test_a_deleted_version_has_a_row_and_a_killed_run_goes_on(shop, monkeypatch):
    ledger, registry = shop

    def killed(version):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(registry, "delete_version", killed)
        pruned(shop, dry_run=False)
    assert [(row.action, row.to_version) for row in ledger.moves()[4:]] == [(PRUNE, "1")]
    assert pruned(shop, dry_run=False).pruned == ("1", "2")
    assert registry.deleted == ["version 1", "run 1", "version 2", "run 2"]
    assert [(row.action, row.to_version, row.actor) for row in ledger.moves()[4:]] == [
        (PRUNE, "1", "tester"),
        (PRUNE, "2", "tester"),
    ]
    assert ledger.standing().champions == ("3", "4")
    assert pruned(shop, dry_run=False).pruned == ()
