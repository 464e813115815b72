"""Aliases that somebody moved in MLflow: told in the ledger, and put back or adopted by the setting."""

from datetime import UTC, datetime

import pytest

from lastaisle.errors import RegistryError
from lastaisle.lake import Lake
from lastaisle.registry.ledger import ADOPT, MOVED_BY_HAND, UNKNOWN, Ledger, Move, rolled_back_versions
from lastaisle.registry.registry import Registry
from lastaisle.release import by_hand
from lastaisle.release.gate import GateRules
from lastaisle.release.release import current_champion, sync_aliases
from lastaisle.release.rollback import rollback
from lastaisle.release.sync import sync

LAX = GateRules(margin=1.0)


class Aliases:
    """A registry that has the versions 1 to 5, each of a run of its own."""

    model_name, uri, alias_moved_by_hand = "checkout-recommender", "nowhere", "put_back"

    def __init__(self):
        self.held, self.mark, self.versions = {}, None, {str(number) for number in range(1, 6)}

    def aliases_with_mark(self):
        return dict(self.held), self.mark

    def set_as(self, ledger):
        """Set the aliases and the mark as a release does."""
        self.held = {alias: version for alias, version in ledger.standing().aliases.items() if version}
        self.mark = ledger.moves()[-1].move_id

    def find_run_of(self, version):
        return f"run {version}" if version in self.versions else None

    def has_run(self, run_id):
        return True

    def tags(self, run_id):
        return {"run_key": f"key of {run_id}"}

    def require_digest(self, version, digest):
        return None


@pytest.fixture
def shop(tmp_path, monkeypatch):
    """A ledger after the promotions of versions 1 to 3, and the refusal of version 4."""
    monkeypatch.setattr(by_hand, "SETTLED_AFTER", 0.0)
    monkeypatch.setattr(by_hand, "require_servable", lambda *_: None)
    ledger, registry = Ledger(Lake(str(tmp_path)), "checkout-recommender"), Aliases()
    for action, before, version in (
        ("promote", None, "1"),
        ("promote", "1", "2"),
        ("promote", "2", "3"),
        ("refuse", "3", "4"),
    ):
        ledger.write(written(action, before, version))
    registry.set_as(ledger)
    return ledger, registry


def written(action, before, version, alias="champion"):
    return Move(
        move_id=f"{action}/{version}",
        moved_at=datetime(2025, 10, 9, tzinfo=UTC),
        actor="tester",
        action=action,
        model_name="checkout-recommender",
        alias=alias,
        from_version=before,
        to_version=version,
        reason=f"It was {action}d.",
        run_id=f"run {version}",
        run_key="k",
    )


def told(ledger, registry):
    """Return the rows that the ledger gets about aliases that somebody moved."""
    known = len(ledger.moves())
    by_hand.tell_hand_moves(ledger, registry)
    return ledger.moves()[known:]


def test_aliases_as_the_ledger_has_them_are_not_told(shop):
    assert told(*shop) == ()


@pytest.mark.parametrize(
    ("alias", "version", "reason"),
    [
        ("champion", "2", "moved the alias champion of checkout-recommender from version 3 to version 2 by"),
        ("champion", "4", "from version 3 to version 4 by hand in MLflow, after 2025-10-09 00:00 UTC."),
        ("champion", None, "removed the alias champion of checkout-recommender from version 3 by hand"),
        ("previous", "1", "from version 2 to version 1"),
        ("previous", None, "removed the alias previous"),
        ("anchor", "3", "from no version to version 3"),
        ("canary", "5", "from no version to version 5"),
    ],
)
def test_an_alias_that_somebody_moved_is_told_once_and_put_back(shop, alias, version, reason):
    ledger, registry = shop
    before = ledger.standing()
    registry.held |= {alias: version}
    if version is None:
        del registry.held[alias]
    (move,) = told(ledger, registry)
    assert (move.action, move.actor, move.alias) == (MOVED_BY_HAND, UNKNOWN, alias)
    assert (move.from_version, move.to_version) == (before.aliases[alias], version or "")
    assert reason in move.reason
    assert "It is put back to" in move.reason
    assert ledger.standing() == before
    assert told(ledger, registry) == (), "also if the process was killed before it put the alias back"
    registry.set_as(ledger)
    registry.held[alias] = "5"
    assert len(told(ledger, registry)) == 1, "the next time is told again"


def test_a_release_that_was_killed_before_its_aliases_is_nobody_s_move(shop):
    ledger, registry = shop
    ledger.write(written("promote", "3", "5"))
    assert told(ledger, registry) == ()
    registry.held["champion"] = "5"  # killed between champion and previous
    assert told(ledger, registry) == ()
    registry.held["champion"] = "4"
    assert [move.to_version for move in told(ledger, registry)] == ["4"]


@pytest.mark.parametrize("mark", [None, "of another ledger"])
def test_aliases_of_an_older_release_are_set_as_before(shop, mark):
    ledger, registry = shop
    registry.mark, registry.held["champion"] = mark, "1"
    assert told(ledger, registry) == ()


def test_an_alias_that_vanished_with_its_version_was_not_moved(shop):
    ledger, registry = shop
    registry.versions.remove("2")
    del registry.held["previous"]
    assert told(ledger, registry) == ()


def test_an_alias_that_another_process_sets_just_now_was_not_moved(shop, monkeypatch):
    ledger, registry = shop
    registry.held["champion"] = "2"
    monkeypatch.setattr(by_hand.time, "sleep", lambda _: registry.set_as(ledger))
    assert told(ledger, registry) == ()


@pytest.mark.parametrize(
    ("version", "champions", "reason"),
    [
        ("2", ("1", "2"), "It is adopted: the gate promoted version 2 before."),
        ("4", ("1", "2", "3", "4"), "It is adopted: the gate refused version 4: It was refused."),
        ("5", ("1", "2", "3", "5"), "It is adopted: the gate has not judged version 5."),
    ],
)
def test_a_champion_that_somebody_set_is_adopted_if_the_setting_says_so(shop, version, champions, reason):
    ledger, registry = shop
    registry.alias_moved_by_hand, registry.held["champion"] = "adopt", version
    (move,) = told(ledger, registry)
    assert (move.action, move.actor, move.run_id) == (ADOPT, UNKNOWN, f"run {version}")
    assert reason in move.reason
    assert ledger.standing().champions == champions
    assert "3" in rolled_back_versions(ledger.moves())


@pytest.mark.parametrize(
    ("alias", "version", "why"),
    [
        ("champion", None, "an alias that was removed names no version to adopt"),
        ("previous", "1", "the alias previous follows from other moves"),
        ("shadow", "1", "the alias shadow follows from other moves"),
        ("champion", "5", "it lost its files"),
    ],
)
def test_what_cannot_serve_is_put_back_also_if_the_setting_says_adopt(shop, alias, version, why, monkeypatch):
    def broken(*_):
        raise RegistryError("it lost its files")

    ledger, registry = shop
    monkeypatch.setattr(by_hand, "require_servable", broken)
    registry.alias_moved_by_hand, registry.held[alias] = "adopt", version
    if version is None:
        del registry.held[alias]
    (move,) = told(ledger, registry)
    assert move.action == MOVED_BY_HAND
    assert move.reason.endswith(f", because {why}.")


@pytest.mark.training
def test_mlflow_s_own_aliases_are_put_back_or_adopted(home):
    home.released(1, 2, rules=LAX)
    home.registry.client.set_registered_model_alias(home.registry.model_name, "champion", "1")
    planned = sync(home.lake, home.registry)
    assert planned.after["champion"] == "2"
    assert "moved the alias champion" in planned.moved_by_hand[0]
    assert current_champion(home.lake, home.registry).version == "2"
    assert home.registry.aliases()["champion"] == "2"
    *_, move = Ledger(home.lake, home.registry.model_name).moves()
    assert (move.action, move.actor, move.to_version) == (MOVED_BY_HAND, UNKNOWN, "1")
    assert sync(home.lake, home.registry).moved_by_hand == ()

    adopting = Registry(home.settings.replace(alias_moved_by_hand="adopt"))
    home.registry.client.set_registered_model_alias(home.registry.model_name, "champion", "1")
    assert sync_aliases(home.lake, adopting)["champion"] == "1"
    assert home.registry.aliases() == {"anchor": "1", "challenger": "2", "champion": "1"}
    assert sync_aliases(home.lake, home.registry)["champion"] == "1"
    report = rollback(home.lake, home.registry, to_version="2", reason="it was good", dry_run=False)
    assert (report.to_version, report.previous, report.forced) == ("2", "1", False)
