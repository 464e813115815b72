"""A candidate takes its steps: shadow, canary, champion; each by the rules, and each told everywhere."""

import json
from dataclasses import replace

import pytest

from lastaisle.baseline.hours import hour_of
from lastaisle.errors import RegistryError
from lastaisle.experiments.traffic import read_traffic, write_move
from lastaisle.registry.ledger import Ledger
from lastaisle.release.gate import GateRules
from lastaisle.release.rollback import rollback
from lastaisle.release.steps.advance import make_room
from lastaisle.release.steps.retire import retire
from lastaisle.release.steps.rules import ReleaseRules, release_rules
from tests.baseline.shop import CHAMPION, OPENED, dropped, steady
from tests.release.steps_home import (
    LATER,
    NEWEST,
    Homes,
    as_canary,
    as_shadow,
    begun,
    canary_hours,
    promoted,
)
from tests.shops.made_up_shop import pack_lightly


@pytest.fixture(scope="module")
def homes(tmp_path_factory):
    patch = pytest.MonkeyPatch()
    pack_lightly(patch.setattr)
    yield Homes(tmp_path_factory.mktemp("steps"))
    patch.undo()


@pytest.fixture
def shop(homes, request):
    """The shop in the state that the test names; by default its candidate is not released."""
    return homes.at(getattr(request, "param", begun))


def in_state(state):
    """Begin a test in a state."""
    return pytest.mark.parametrize("shop", [state], indirect=True, ids=[state.__name__])


def trials(shop):
    return {name: move.state for name, move in read_traffic(shop.lake).newest().items()}


def actions(shop):
    return [move.action for move in Ledger(shop.lake, shop.registry.model_name).moves()]


@in_state(as_shadow)
def test_a_candidate_that_passes_is_shadow_then_canary_then_champion(shop):
    assert shop.standing() == {"champion": "1", "canary": None, "shadow": "2"}
    (shadow,) = read_traffic(shop.lake).running()
    assert (shadow.name, shadow.kind, shadow.share, shadow.arms[0].version) == (
        "shadow-2",
        "shadow",
        0.5,
        "2",
    )

    card = shop.registry.client.get_model_version(shop.registry.model_name, "2").description
    assert card.startswith("Now: shadow. Version 2 is shadow since ")
    assert "**Passed the gate.**" in card
    assert "| share | 0.5000 |" in card
    assert shop.watch().steps[0].outcome == "wait"  # no service has counted yet
    shop.served("2")
    (step,) = shop.watch().steps
    assert (step.step, step.outcome) == ("shadow", "go_on")
    assert shop.standing() == {"champion": "1", "canary": "2", "shadow": None}
    (canary,) = read_traffic(shop.lake).running()
    assert (canary.name, canary.kind) == ("canary-2", "canary")
    assert [(one.name, one.version) for one in canary.arms] == [("control", None), ("canary", "2")]
    assert canary.phases[0].shares() == pytest.approx({"canary": 0.3, "control": 0.7})
    assert hour_of(canary.starts_at) == OPENED + NEWEST - 1, "the clock of the data"

    assert shop.watch().steps[0].outcome == "wait"  # no shopper has seen its lists
    canary_hours(shop, steady)
    (step,) = shop.watch().steps
    assert (step.step, step.outcome) == ("canary", "go_on")
    assert shop.standing() == {"champion": "2", "canary": None, "shadow": None}
    assert trials(shop) == {"shadow-2": "decided", "canary-2": "decided"}
    assert actions(shop)[-4:] == ["register", "shadow", "canary", "promote"]
    assert not shop.watch().steps
    assert len(read_traffic(shop.lake).moves) == 4


@in_state(as_canary)
def test_a_canary_that_is_surely_worse_is_retired_and_told_everywhere(shop):
    canary_hours(shop, dropped(0, 0.4))
    (step,) = shop.watch().steps
    assert (step.step, step.outcome) == ("canary", "retire")
    assert shop.standing() == {"champion": "1", "canary": None, "shadow": None}
    assert trials(shop)["canary-2"] == "stopped"
    last = Ledger(shop.lake, shop.registry.model_name).moves()[-1]
    assert (last.action, last.to_version, last.actor) == ("retire", "2", "watcher")
    assert "conversion of version 2 is surely worse than of version 1" in last.reason
    table = {check["name"]: check for check in json.loads(last.decision)["checks"]}
    assert not table["guardrail_conversion"]["passed"]
    version = shop.registry.client.get_model_version(shop.registry.model_name, "2")
    assert version.tags["lastaisle.step"] == "retired"
    logged = json.loads(shop.registry.read_text(last.run_id, "release/steps/canary-2.json"))
    assert "guardrail_conversion" in [row[0] for row in logged["data"]]


@in_state(as_shadow)
def test_a_shadow_makes_room_for_a_newer_candidate_as_canary_if_it_has_kept_its_rules(shop):
    rules = release_rules(shop.settings)
    (step,) = make_room(shop.lake, shop.registry, rules, GateRules(), actor="tests")
    assert (step.outcome, shop.standing()["shadow"]) == ("wait", "2")
    shop.served("2")
    (step,) = make_room(shop.lake, shop.registry, rules, GateRules(), actor="tests")
    assert step.outcome == "go_on"
    assert shop.standing() == {"champion": "1", "canary": "2", "shadow": None}
    assert make_room(shop.lake, shop.registry, rules, GateRules(), actor="tests") == []
    assert make_room(shop.lake, shop.registry, ReleaseRules(), GateRules(), actor="tests") == []


@in_state(as_shadow)
def test_a_shadow_with_errors_is_retired(shop):
    shop.served("2", errors=40)
    (step,) = shop.watch().steps
    assert step.outcome == "retire"
    assert "errors of version 2, 0.1000 in 400 requests, breaks <= 0.01" in step.reason
    assert trials(shop) == {"shadow-2": "stopped"}


@in_state(as_shadow)
def test_a_shadow_without_requests_is_retired_at_the_end(shop):
    rules = shop.settings.home / "release.yaml"
    rules.write_text(rules.read_text().replace("min_hours: 0", "min_hours: 0\n    max_hours: 5"))
    (step,) = shop.watch(now=LATER).steps
    assert step.outcome == "retire"
    assert "took longer than 5 hours, and at_end is retire" in step.reason


@in_state(as_shadow)
def test_at_the_end_a_step_goes_on_if_the_rules_say_so(shop):
    rules = shop.settings.home / "release.yaml"
    rules.write_text(
        rules.read_text().replace("min_hours: 0", "min_hours: 0\n    max_hours: 5\n    at_end: go_on")
    )
    shop.watch(now=LATER)
    assert shop.standing()["canary"] == "2"


@in_state(as_canary)
def test_the_evaluation_is_asked_again_before_the_last_step(shop):
    rules = shop.settings.home / "release.yaml"
    offline = "  champion:\n    offline: {min_targets: 1000000}\nguardrails:"
    rules.write_text(rules.read_text().replace("guardrails:", offline))
    canary_hours(shop, steady)
    (step,) = shop.watch().steps
    assert step.outcome == "retire"
    assert "too few for a decision (at least 1,000,000)" in step.reason


def test_without_a_file_of_rules_the_gate_promotes_at_once(shop):
    (shop.settings.home / "release.yaml").write_text("{}\n")
    shop.release_candidate()
    assert shop.standing() == {"champion": "2", "canary": None, "shadow": None}
    assert read_traffic(shop.lake).version == -1


@in_state(as_canary)
def test_a_second_call_for_the_same_run_moves_nothing(shop):
    before = actions(shop)
    assert shop.release_candidate().promote
    assert actions(shop) == before


@in_state(as_canary)
def test_people_retire_a_canary(shop):
    with pytest.raises(
        RegistryError, match=r"version 1 .* is neither shadow nor canary; canary is version 2"
    ):
        retire(shop.lake, shop.registry, "1", reason="odd lists")
    with pytest.raises(RegistryError, match="needs a reason"):
        retire(shop.lake, shop.registry, "2", reason=" ")
    retire(shop.lake, shop.registry, "2", reason="odd lists", actor="tester")
    assert shop.standing() == {"champion": "1", "canary": None, "shadow": None}
    assert trials(shop)["canary-2"] == "stopped"


@in_state(as_canary)
def test_a_canary_that_people_stopped_stays_stopped(shop):
    log = read_traffic(shop.lake)
    write_move(shop.lake, replace(log.newest()["canary-2"], move_id="by hand", state="stopped"), log)
    shop.watch()
    assert trials(shop)["canary-2"] == "stopped"


@in_state(as_canary)
def test_a_rollback_to_the_canary_ends_its_trial(shop):
    rollback(shop.lake, shop.registry, to_version="2", reason="now", dry_run=False, force=True)
    assert shop.standing() == {"champion": "2", "canary": None, "shadow": None}
    assert trials(shop)["canary-2"] == "stopped"


@in_state(promoted)
def test_a_champion_whose_conversion_drops_is_rolled_back_and_told_everywhere(shop):
    shop.shopped({**CHAMPION, "model_version": "2"}, dropped(0, 0.3), 48, 80)
    report = shop.watch()
    assert (report.rolled_back, report.version, report.champion_moved) == ("2", "1", True)
    assert shop.standing()["champion"] == "1"
    last = Ledger(shop.lake, shop.registry.model_name).moves()[-1]
    assert (last.action, last.to_version, last.actor) == ("rollback", "1", "watcher")
    assert "The guardrails rolled version 2 back. conversion of version 2 changed by -" in last.reason
    version = shop.registry.client.get_model_version(shop.registry.model_name, "2")
    assert version.tags["lastaisle.step"] == "rolled back"
    assert "conversion" in version.tags["lastaisle.step_reason"]
    again = shop.watch()
    assert (again.rolled_back, again.version) == (None, "1")


@in_state(promoted)
def test_a_dry_run_moves_nothing(shop):
    shop.shopped({**CHAMPION, "model_version": "2"}, dropped(0, 0.3), 48, 80)
    before = actions(shop)
    report = shop.watch(dry_run=True)
    assert report.champion.asks_rollback
    assert actions(shop) == before
    assert shop.standing()["champion"] == "2"


@in_state(promoted)
def test_errors_of_the_new_champion_roll_it_back(shop):
    shop.shopped({**CHAMPION, "model_version": "2"}, steady, 48, 60)
    shop.served("2", role="champion", errors=200, requests=1000)
    report = shop.watch()
    assert report.rolled_back == "2"
    assert "errors of version 2 is 0.2000" in report.champion.reason
