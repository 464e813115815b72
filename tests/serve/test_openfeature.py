"""The OpenFeature provider: the same arm as the service and as SQL, with reason and propensity."""

from __future__ import annotations

import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace
from openfeature import api
from openfeature.evaluation_context import EvaluationContext
from openfeature.exception import ErrorCode
from openfeature.flag_evaluation import Reason

from lastaisle.errors import LastaisleError
from lastaisle.experiments.assignment import BUCKETS, ranges_of_phases
from lastaisle.experiments.notebook import arm_macro, arms_of
from lastaisle.experiments.traffic import (
    Arm,
    Bandit,
    Mix,
    Phase,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.feedback.origin import origin_of
from lastaisle.lake import Lake
from lastaisle.privacy.consents import Decision, record
from lastaisle.serve.openfeature import LastaisleProvider
from tests.services.waiting import wait_until

NOW = datetime.now(UTC)
DAY = timedelta(days=1)
UNIT = "0123456789abcdef" * 2


def trial(name: str = "demo", shares: tuple[dict[str, float], ...] = (), **changes) -> Trial:
    shares = shares or ({"control": 0.25, "new": 0.75},)
    phases = tuple(
        Phase(starts_at=NOW - (len(shares) - at) * DAY, ranges=ranges)
        for at, ranges in enumerate(ranges_of_phases(shares))
    )
    arms = (Arm(name="control"), Arm(name="new", version="7", mix=Mix(positions=(2, 4))))
    made = {"kind": "experiment", "arms": arms, "starts_at": NOW - 3 * DAY, "phases": phases, **changes}
    return Trial(name=name, **made)


class Served:
    """A lake, and a client of the provider that follows it."""

    def __init__(self, folder, **options) -> None:
        self.lake = Lake(folder)
        self.provider = LastaisleProvider(self.lake, poll_seconds=0.05, **options)

    def move(self, made: Trial, state: str = "running") -> None:
        log = read_traffic(self.lake)
        write_move(self.lake, TrafficMove(str(log.next_entry), NOW, state, made, "", ""), log)

    def start(self) -> None:
        api.set_provider_and_wait(self.provider, "tests")
        self.client = api.get_client("tests")

    def ask(self, name: str = "demo", key: str | None = UNIT, kind: str = "string", default="", **given):
        self.provider.look()
        context = EvaluationContext(targeting_key=key, attributes=given)
        return getattr(self.client, f"get_{kind}_details")(name, default, context)


@pytest.fixture
def served(tmp_path):
    made = Served(tmp_path)
    yield made
    api.shutdown()


def units(count: int) -> list[str]:
    return [f"{number * 7919:032x}" for number in range(count)]


def test_a_flag_is_an_experiment_and_its_variant_the_arm(served):
    served.move(trial(shares=({"control": 0.5, "new": 0.5}, {"control": 0.25, "new": 0.75})))
    served.start()
    found = served.ask()
    assert found.variant == found.value == trial().arm_of(UNIT, NOW)
    assert found.reason == Reason.SPLIT
    propensity = {"control": 0.25, "new": 0.75}[found.variant]
    assert found.flag_metadata == {
        "experiment": "demo",
        "kind": "experiment",
        "phase": 2,
        "propensity": propensity,
        "label": f"~demo~{found.variant}~{propensity}",
    }
    shares = [served.ask(key=unit).variant for unit in units(400)].count("new") / 400
    assert shares == pytest.approx(0.75, abs=0.1)


def test_booleans_and_objects_tell_the_arm_and_numbers_do_not(served):
    served.move(trial(shares=({"new": 1.0},)))
    served.start()
    assert served.ask(kind="boolean", default=False).value is True
    found = served.ask(kind="object", default={})
    assert found.value["arm"] == "new"
    assert (found.value["version"], found.value["mix_positions"]) == ("7", [2, 4])
    assert served.ask(kind="integer", default=3).error_code == ErrorCode.TYPE_MISMATCH
    assert served.ask(kind="float", default=3.0).value == 3.0


@pytest.mark.parametrize(
    ("changes", "state", "context", "reason"),
    [
        ({}, "stopped", {}, Reason.DISABLED),
        ({}, "decided", {}, Reason.DISABLED),
        ({"stops_at": NOW - DAY}, "running", {}, Reason.DISABLED),
        ({"starts_at": NOW + DAY}, "running", {}, Reason.DISABLED),
        ({}, "running", {"consent": False}, Reason.DEFAULT),
        ({"placements": ("cart",)}, "running", {}, Reason.DEFAULT),
        ({"placements": ("cart",)}, "running", {"placement": "cart"}, Reason.SPLIT),
        ({"targeting": {"country": ("DE",)}}, "running", {}, Reason.DEFAULT),
        ({"targeting": {"country": ("DE",)}}, "running", {"country": "FR"}, Reason.DEFAULT),
        ({"targeting": {"country": ("DE",)}}, "running", {"country": "DE"}, Reason.SPLIT),
        ({"buckets": (0, 0)}, "running", {}, Reason.DEFAULT),
        ({"shares": ({"new": 1.0},)}, "running", {}, Reason.STATIC),
        (
            {"shares": ({"new": 1.0},), "targeting": {"country": ("DE",)}},
            "running",
            {"country": "DE"},
            Reason.TARGETING_MATCH,
        ),
    ],
)
def test_the_reason_says_why(served, changes, state, context, reason):
    served.move(trial(**changes), state)
    served.start()
    found = served.ask(default="mine", **context)
    assert found.reason == reason
    assert (found.value == "mine") is (reason in (Reason.DISABLED, Reason.DEFAULT))
    assert (found.variant is None) is (found.value == "mine")
    assert found.flag_metadata["experiment"] == "demo"


def test_wrong_requests_get_the_default_and_a_code(served):
    served.move(trial())
    served.move(trial("canary-7", kind="canary"))
    served.start()
    for name in ("typo", "canary-7"):
        found = served.ask(name, default="mine")
        assert (found.value, found.error_code) == ("mine", ErrorCode.FLAG_NOT_FOUND)
    assert served.ask(key=None).error_code == ErrorCode.TARGETING_KEY_MISSING
    assert served.ask(key="").error_code == ErrorCode.TARGETING_KEY_MISSING
    for key in ("anna@example.com", UNIT.upper(), f"{UNIT}0", f"{UNIT}\n"):
        found = served.ask(key=key)
        assert found.error_code == ErrorCode.INVALID_CONTEXT
        assert key not in found.error_message


def test_the_shops_own_ids_become_pseudonyms_and_are_never_said(tmp_path, caplog):
    def pseudonym_of(user: str) -> str:
        if user != "anna":
            raise LastaisleError("no id")
        return UNIT

    served = Served(tmp_path, pseudonym_of=pseudonym_of)
    served.move(trial())
    served.start()
    assert served.ask(key="anna").variant == trial().arm_of(UNIT, NOW)
    assert served.ask(key="bob-4711").error_code == ErrorCode.INVALID_CONTEXT
    assert "bob-4711" not in caplog.text
    api.shutdown()


def test_a_bandit_draws_each_time_with_its_propensity(served):
    base = {"control": 0.2, "new": 0.8}
    bandit = Bandit(algorithm="linear_thompson", base=base, floor=0.1, context=("country",))
    served.move(trial(kind="bandit", phases=(), bandit=bandit))
    served.start()
    found = [served.ask(country="DE") for _ in range(300)]
    assert {one.flag_metadata["propensity"] for one in found} == {0.2, 0.8}
    assert [one.variant for one in found].count("new") / 300 == pytest.approx(0.8, abs=0.1)
    origin = origin_of(f"7-m-{'0' * 24}{found[0].flag_metadata['label']}")
    assert (origin.label.experiment, origin.label.arm, origin.label.context) == (
        *("demo", found[0].variant, ("DE",)),
    )


def test_a_move_is_seen_within_the_poll_and_a_broken_table_changes_nothing(served):
    served.move(trial(shares=({"new": 1.0},)))
    served.start()
    changed = []
    served.client.add_handler(
        api.ProviderEvent.PROVIDER_CONFIGURATION_CHANGED,
        lambda details: changed.append(details.flags_changed),
    )
    served.move(trial(), "stopped")
    until = time.monotonic() + 5
    while not changed and time.monotonic() < until:
        time.sleep(0.01)
    assert changed == [["demo"]]
    served.move(trial(shares=({"new": 1.0},)))
    assert served.ask().variant == "new"
    for entry in Path(served.lake.table_url("traffic"), "_delta_log").iterdir():
        entry.write_text("{")
    assert served.ask().variant == "new"
    assert "cannot be read" in served.ask("typo").error_message


def test_without_a_table_there_is_no_flag_until_one_is_written(served):
    served.start()
    assert served.ask().error_code == ErrorCode.FLAG_NOT_FOUND
    served.move(trial(shares=({"new": 1.0},)))
    assert served.ask().variant == "new"


SHARES = st.lists(st.floats(0, 0.5), min_size=2, max_size=2).map(
    lambda sizes: dict(zip(("control", "new"), sizes, strict=True))
)


@settings(max_examples=25, deadline=None)
@given(
    st.lists(SHARES, min_size=1, max_size=3),
    st.tuples(st.integers(0, BUCKETS), st.integers(0, BUCKETS)).map(sorted),
    st.lists(st.integers(0, 2**128 - 1).map(lambda number: f"{number:032x}"), min_size=1, max_size=20),
)
def test_service_notebook_sql_and_provider_give_one_arm(shares, buckets, shoppers):
    made = trial("one-arm", tuple(shares), buckets=tuple(buckets))
    service = [made.arm_of(unit, NOW) if made.takes(unit, "cart", {}, NOW) else None for unit in shoppers]
    assert arms_of(made, shoppers, NOW) == service
    duckdb.execute(arm_macro(made))
    sql = "SELECT arm_of_one_arm(unit, ?) FROM unnest(?) AS t(unit)"
    assert [row[0] for row in duckdb.execute(sql, [NOW, shoppers]).fetchall()] == service
    with tempfile.TemporaryDirectory() as empty:
        provider = LastaisleProvider.of_lake(empty)
        provider._consents.look()  # nobody withdrew a consent
        log = read_traffic(provider._lake)
    known = type("Known", (), {"log": replace_log(log, made)})
    provider._take(known)
    context = [EvaluationContext(unit, {"placement": "cart"}) for unit in shoppers]
    assert [provider.resolve_string_details("one-arm", "", one).variant for one in context] == service


def replace_log(log, made: Trial):
    return type(log)(1, (TrafficMove("one", NOW, "running", replace(made), "", ""),))


@pytest.mark.service
def test_the_provider_loads_no_model_no_mlflow_and_no_airflow():
    heavy = ("tensorflow", "mlflow", "airflow", "great_expectations", "fastapi")
    code = f"import sys, lastaisle.serve.openfeature; print([n for n in {heavy} if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_shopper_who_refuses_elsewhere_gets_no_arm(served):
    served.move(trial())
    served.start()
    assert served.ask().variant in {"control", "new"}
    assert served.ask(gpc=True).reason == Reason.DEFAULT
    assert served.ask(gpc=False).variant in {"control", "new"}
    record(served.lake, [Decision(UNIT, None, "personalization", False, NOW, "request")], 1)
    wait_until("the provider knows of it", lambda: served.ask().reason == Reason.DEFAULT, timeout=20)
    assert served.ask(key="f" * 32).variant in {"control", "new"}


def test_while_nobody_knows_who_refuses_nobody_gets_an_arm(served, tmp_path):
    served.move(trial())
    (tmp_path / "consents").write_text("a file in the place of the table")
    served.start()
    assert served.ask().reason == Reason.DEFAULT
