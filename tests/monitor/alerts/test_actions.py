"""Alerts start a rollback or a training only if their rule says so, and once in an episode."""

import shutil
from datetime import UTC, datetime, timedelta

import pytest

from lastaisle.errors import RegistryError
from lastaisle.monitor.alerts import actions
from lastaisle.monitor.alerts.actions import act
from lastaisle.monitor.alerts.config import AlertConfig
from lastaisle.monitor.alerts.log import read_alerts, report, resolve, silence
from lastaisle.monitor.alerts.model import CONVERSION_DROP, DRIFT, Finding
from lastaisle.registry import losses
from lastaisle.registry.ledger import PROMOTE, Ledger
from lastaisle.registry.registry import Registry
from lastaisle.release import rollback as rolling
from tests.release.moving import begin, promote, stores

SUMMARY = "Conversion at checkout is 2 % since 14:00, 30 % below the same hours of the past 8 weeks (3 %)."
SCOPE = {"placement": "checkout", "metric": "conversion"}
ROLLS_BACK = AlertConfig.model_validate({"rules": {CONVERSION_DROP: {"action": "rollback"}}})
TRAINS = AlertConfig.model_validate(
    {"rules": {CONVERSION_DROP: {"action": "retrain"}, DRIFT: {"action": "retrain"}}}
)


@pytest.fixture(scope="module")
def promoted(tmp_path_factory):
    """Return the folder of a home whose versions 1, 2 and 3 were promoted; the versions have no files."""
    folder = tmp_path_factory.mktemp("promoted")
    with pytest.MonkeyPatch.context() as patch:
        without_files(patch)
        begin(folder)
    return folder


@pytest.fixture
def home(promoted, tmp_path, monkeypatch):
    """Return the lake and the registry of a copy of the home."""
    without_files(monkeypatch)
    shutil.copytree(promoted, tmp_path, dirs_exist_ok=True)
    return stores(tmp_path)


def without_files(patch):
    """Let versions without files be rolled back."""
    patch.setattr(losses, "missing_part", lambda *_: None)
    patch.setattr(rolling, "require_servable", lambda *_: "key")
    patch.setattr(rolling, "_say_forced", lambda *_: None)
    patch.setattr(Registry, "require_digest", lambda *_: None)


def raised(lake, *, since=None, scope=SCOPE, rule=CONVERSION_DROP):
    """Raise an alert that began an hour after the present, so after each promotion."""
    since = since or datetime.now(UTC) + timedelta(hours=1)
    return report(lake, Finding(rule, "critical", scope, SUMMARY, since))


def start(home, config, **options):
    """Let the alerts act."""
    lake, registry = home
    return act(lake, lambda: registry, config, **options)


def rollbacks(home):
    lake, registry = home
    return [move for move in Ledger(lake, registry.model_name).moves() if move.action == "rollback"]


def sentences(given):
    return [one.sentence for one in given.actions]


def test_no_alert_starts_anything_by_default(home):
    raised(home[0])
    assert act(home[0], lambda: pytest.fail("no registry is needed"), AlertConfig()).actions == ()
    assert start(home, AlertConfig(), dry_run=False).actions == ()
    assert not rollbacks(home)


def test_an_alert_rolls_back_once_and_the_ledger_names_it(home):
    alert = raised(home[0])
    assert sentences(start(home, ROLLS_BACK)) == ["Version 3 would be rolled back to version 2."]
    assert not rollbacks(home)
    (done,) = start(home, ROLLS_BACK, dry_run=False).actions
    assert (done.acted, done.sentence) == (True, "Version 3 was rolled back to version 2.")
    (move,) = rollbacks(home)
    assert (move.from_version, move.to_version, move.reason) == ("3", "2", SUMMARY)
    assert move.actor == f"alert {alert.id} (conversion_drop)"
    assert home[1].aliases()["champion"] == "2"
    (again,) = start(home, ROLLS_BACK, dry_run=False).actions
    assert not again.acted
    assert again.sentence.startswith("Version 3 was rolled back to version 2 at ")
    assert len(rollbacks(home)) == 1


def test_an_episode_rolls_back_no_second_version_that_is_promoted_in_it(home):
    raised(home[0])
    start(home, ROLLS_BACK, dry_run=False)
    promote("4", *home, "later")
    assert not start(home, ROLLS_BACK, dry_run=False).actions[0].acted
    assert home[1].aliases()["champion"] == "4"


def test_two_alerts_about_one_drop_roll_back_one_version(home):
    raised(home[0])
    raised(home[0], scope={"metric": "conversion"})
    assert sorted(one.acted for one in start(home, ROLLS_BACK, dry_run=False).actions) == [False, True]
    assert len(rollbacks(home)) == 1
    said = " ".join(sentences(start(home, ROLLS_BACK, dry_run=False)))
    assert "alerts never roll back to and fro" in said


def test_a_new_episode_may_roll_back_again(home):
    raised(home[0])
    start(home, ROLLS_BACK, dry_run=False)
    resolve(home[0], CONVERSION_DROP, SCOPE)
    promote("4", *home, "later")
    raised(home[0])
    start(home, ROLLS_BACK, dry_run=False)
    assert [(move.from_version, move.to_version) for move in rollbacks(home)] == [("3", "2"), ("4", "2")]


def test_a_resolved_alert_and_a_silenced_alert_start_nothing(home):
    lake = home[0]
    raised(lake)
    silence(lake, CONVERSION_DROP, SCOPE, until=datetime.now(UTC) + timedelta(hours=1), reason="r", actor="a")
    (told,) = sentences(start(home, ROLLS_BACK, dry_run=False))
    assert told.startswith("Nothing is started: the alert is silenced until ")
    resolve(lake, CONVERSION_DROP, SCOPE)
    assert start(home, ROLLS_BACK, dry_run=False).actions == ()
    assert not rollbacks(home)


def test_a_version_that_came_after_the_drop_is_not_to_blame(home):
    raised(home[0], since=datetime.now(UTC) - timedelta(hours=2))
    (told,) = sentences(start(home, ROLLS_BACK, dry_run=False))
    assert "before version 3 became champion" in told
    assert not rollbacks(home)


def test_a_drop_in_the_hour_of_the_release_may_come_from_it(home):
    """Alerts name the hour in which they began, so the moment lies before the release."""
    raised(home[0], since=datetime.now(UTC) - timedelta(minutes=50))
    assert start(home, ROLLS_BACK, dry_run=False).actions[0].acted


def test_without_a_version_before_there_is_no_rollback(home):
    moves = Ledger(home[0], home[1].model_name).moves()
    alert = raised(home[0])
    (first,) = [place for place, move in enumerate(moves) if (move.action, move.to_version) == (PROMOTE, "1")]
    assert "there is no version to return to" in actions._excuse(alert, moves[: first + 1])
    assert not actions._excuse(alert, moves)


def test_a_champion_to_which_people_returned_stays(home):
    rolling.rollback(*home, reason="r", actor="people", dry_run=False)
    raised(home[0])
    (told,) = sentences(start(home, ROLLS_BACK, dry_run=False))
    assert told.startswith("No rollback. Version 2 serves because people returned to it")
    assert len(rollbacks(home)) == 1


def test_an_empty_registry_has_nothing_to_roll_back(tmp_path):
    lake, registry = stores(tmp_path)
    raised(lake)
    assert sentences(start((lake, registry), ROLLS_BACK, dry_run=False)) == [
        "No rollback. No version serves."
    ]


def test_a_rollback_that_was_killed_after_the_ledger_is_finished(home, monkeypatch):
    class KilledError(BaseException):
        pass

    def killed(*_):
        raise KilledError

    raised(home[0])
    with monkeypatch.context() as patch, pytest.raises(KilledError):
        written = Ledger.write
        patch.setattr(Ledger, "write", lambda *given: (written(*given), killed()))
        start(home, ROLLS_BACK, dry_run=False)
    assert home[1].aliases()["champion"] == "3"
    start(home, ROLLS_BACK, dry_run=False)
    assert home[1].aliases()["champion"] == "2"
    assert len(rollbacks(home)) == 1


def test_a_rollback_that_fails_stops_no_other_action_and_is_told(home, monkeypatch):
    raised(home[0])
    raised(home[0], scope={"metric": "conversion"})
    real, seen = actions.rollback, []

    def first_fails(*given, **options):
        seen.append(options["actor"])
        if len(seen) == 1:
            raise RegistryError("the version is damaged")
        return real(*given, **options)

    monkeypatch.setattr(actions, "rollback", first_fails)
    with pytest.raises(ExceptionGroup, match="rollbacks that alerts started failed") as failed:
        start(home, ROLLS_BACK, dry_run=False)
    assert "damaged" in str(failed.value.exceptions[0])
    assert home[1].aliases()["champion"] == "2"


def test_an_alert_names_the_training_that_is_to_be_started(home):
    alert = raised(home[0])
    found = start(home, TRAINS, dry_run=False)
    assert found.training == {
        "run_id": f"alert_{alert.id}_{alert.episode}",
        "note": f"Started by alert {alert.id} (conversion_drop): {SUMMARY}",
    }
    assert start(home, TRAINS, dry_run=False).training == found.training
    assert found.lines() == [
        f"{found.training['note']} Airflow starts retrain_full; without Airflow run `lastaisle train`."
    ]
    assert not rollbacks(home)
    second = raised(home[0], rule=DRIFT, scope={})
    assert start(home, TRAINS).training["run_id"] == f"alert_{second.id}_{second.episode}"
    days = datetime.now(UTC) + timedelta(days=2)
    assert start(home, TRAINS, now=days).training is None
    assert len(read_alerts(home[0]).open()) == 2
