"""A federated training is planned, registered, evaluated and released as any other; the lake only judges."""

from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.errors import NotEnoughDataError
from lastaisle.federation import coordinator
from lastaisle.federation.coordinator import FederationError, Outcome, describe
from lastaisle.registry.plan import TrainingPlan
from lastaisle.settings import Settings
from lastaisle.training.kinds.federated import SHARED, agreement_of
from lastaisle.training.planning import plan_window
from models.federated.agreement import AgreementError
from models.options import OptionsError
from tests.shops import made_up_shop
from tests.shops.made_up_shop import FIRST_DAY, ITEMS, end_of


def list_items(lake, ids):
    """Write a catalogue that lists these items since the first day."""
    rows = pa.table(
        {
            "item_id": pa.array(ids, pa.string()),
            "valid_from": pa.array([FIRST_DAY] * len(ids), pa.timestamp("us", "UTC")),
            "removed": pa.array([False] * len(ids)),
            "batch_id": pa.array(["listed"] * len(ids)),
        }
    )
    lake.append("items", rows, key="listed")


def plan(home, **changes):
    return plan_window(home.lake, home.settings.replace(**changes), end_of(3), "federated")


def test_the_items_come_from_the_catalogue_and_not_from_sessions(home):
    list_items(home.lake, ["z", "a", "m"])
    planned = plan(home)
    agreement = agreement_of(planned, home.lake)
    assert agreement.items == ("a", "m", "z")
    assert agreement.window_end == planned.window.end.isoformat()
    assert agreement.seen_until == end_of(3).isoformat()


def test_without_a_catalogue_nothing_is_agreed(home):
    with pytest.raises(NotEnoughDataError, match="the silos agree on items by the public catalogue"):
        agreement_of(plan(home), home.lake)


def test_what_silos_agree_on_names_the_training(home):
    list_items(home.lake, ["a"])
    once, again = plan(home), plan(home)
    assert once.run_key == again.run_key
    assert once.run_key.startswith("federated-")
    assert plan(home, federation_rounds=9).run_key != once.run_key
    assert TrainingPlan.from_json(once.to_json()) == once
    assert once.run_name == "federated to 2025-10-08"


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"federation_aggregation": "trimmed", "federation_hostile": 3}, "it is at least 7"),
        ({"federation_min_silos": 1}, "min_silos cannot be 1 with aggregation secure"),
        ({"hyperparameters": '{"epsilon": 2}'}, "epsilon cannot be 2 in a federated training"),
    ],
)
def test_values_that_do_not_go_together_are_refused_before_a_training(home, changes, reason):
    with pytest.raises(AgreementError, match=reason):
        plan(home, **changes)
    assert issubclass(AgreementError, OptionsError), "a DAG fails without a retry"


def test_a_round_is_described_with_the_silos_that_failed():
    done = {"number": 2, "silos": 3, "refused": {"west": "no answer within 20 s"}}
    assert describe(done, 8) == "round 2 of 8: 3 silos, 1 refused (west: no answer within 20 s)"
    assert describe({**done, "refused": {}}, 8) == "round 2 of 8: 3 silos, 0 refused"


def test_a_coordinator_that_fails_is_told_with_the_end_of_its_log(home, tmp_path, monkeypatch):
    list_items(home.lake, ["a"])
    failing = ["sh", "-c", "echo the port is taken; exit 9"]
    monkeypatch.setattr(coordinator, "command_of", lambda *_: failing)
    with pytest.raises(FederationError, match="exit code 9: the port is taken"):
        coordinator.train_in_silos(agreement_of(plan(home), home.lake), home.settings, tmp_path)


@pytest.mark.training
def test_the_models_that_can_be_shared_are_named_once():
    from models.federated import shared

    assert shared.SHARED == SHARED


@pytest.mark.training
def test_a_version_of_silos_is_registered_and_judged_by_the_coordinators_own_sessions(home, monkeypatch):
    from lastaisle.registry.registry import Registry
    from lastaisle.sessions.windows import Window, training_sessions
    from lastaisle.training.train import train_candidate
    from models.federated.learner import Learner
    from models.federated.rounds import run_rounds

    list_items(home.lake, [f"i{item}" for item in range(ITEMS)])

    def in_process(agreement, settings, folder, progress):
        assert isinstance(settings, Settings)
        silos = {}
        for number, name in enumerate(("east", "north", "south")):
            other = made_up_shop.Installation(Path(folder) / name)
            other.with_events(made_up_shop.events(seed=number + 2))
            log = training_sessions(other.lake, Window(FIRST_DAY, end_of(2), 72.0), end_of(3), None).log
            silos[name] = Learner(agreement, log).answer
        server = run_rounds(agreement, silos)
        rounds = tuple(done.to_dict() for done in server.rounds)
        return Outcome(server.weights, server.popularity, rounds)

    monkeypatch.setattr(coordinator, "train_in_silos", in_process)
    settings = home.settings.replace(
        federation_rounds=3, federation_learning_rate=0.03, hyperparameters='{"embedding_size": 16}'
    )
    registry = Registry(settings)
    planned = plan_window(home.lake, settings, end_of(3), "federated")
    run_id = train_candidate(planned, home.lake, registry)
    metrics = registry.metrics(run_id)
    assert metrics["train_sessions"] == 3 * 800
    assert (metrics["items"], metrics["round_silos"], metrics["round_silos_refused"]) == (ITEMS, 3, 0)
    assert train_candidate(planned, home.lake, registry) == run_id, "a second call trains nothing"
    report = home.evaluate(run_id)
    assert report.candidate.overall.metrics["recall@20"].value > 0.9
    assert home.release(run_id).promote
