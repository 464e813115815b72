"""No training starts from a version that was refused or rolled back, nor from what learned on from one."""

from datetime import UTC, datetime

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.registry.ledger import Move
from lastaisle.registry.lineage import Lineage


def moves(*told):
    """Return moves such as "promote 2", each of a run "r2"."""
    return [
        Move(
            move_id=f"m{number}",
            moved_at=datetime(2025, 10, 9, number, tzinfo=UTC),
            actor="tester",
            action=action,
            model_name="m",
            alias="challenger" if action == "register" else "champion",
            from_version=None,
            to_version=version,
            reason="CTR fell.",
            run_id=f"r{version}",
            run_key="k",
        )
        for number, (action, version) in enumerate(one.split() for one in told)
    ]


@pytest.fixture
def lake(tmp_path):
    """The trainings: 2 learned on from 1, 3 from 2, 4 from 3, 5 from nothing."""
    lake = Lake(str(tmp_path))
    starts = {"1": None, "2": "1", "3": "2", "4": "3", "5": None}
    rows = [{"run_id": f"r{version}", "warm_start_version": start} for version, start in starts.items()]
    schema = pa.schema([("run_id", pa.string()), ("warm_start_version", pa.string())])
    lake.append("training_runs", pa.Table.from_pylist(rows, schema=schema), key="trainings")
    return lake


@pytest.mark.parametrize(
    ("told", "version", "why"),
    [
        (["promote 1", "promote 2"], "2", None),
        (["promote 1", "refuse 2", "rollback 2"], "2", "version 2 was refused on 2025-10-09 01:00"),
        (
            ["promote 1", "refuse 2", "promote 3"],
            "3",
            "version 3 learned on from version 2, and",
        ),
        (["promote 1", "refuse 2", "promote 3", "promote 4"], "4", "version 2 was refused"),
        (["promote 1", "refuse 2", "promote 5"], "5", None),
        (["promote 1", "promote 2", "promote 3", "rollback 1"], "3", "version 3 was rolled back"),
        (["promote 1", "promote 2", "promote 3", "rollback 2"], "4", "version 3 was rolled back"),
        (["promote 1", "promote 2", "promote 3", "rollback 1", "rollback 3"], "3", None),
        (["promote 1", "promote 2", "rollback 1", "promote 3"], "3", None),  # judged again after the rollback
        (["promote 1", "promote 2", "promote 3", "rollback 1", "rollback 4"], "4", None),
        (["promote 1", "retire 2", "rollback 2"], "2", "version 2 was refused"),
        (["promote 1", "promote 2", "withdraw 1"], "1", "version 1 was withdrawn"),
        (["promote 1", "canary 2", "promote 2"], "2", None),
        (["promote 1", "refuse 2", "register 2"], "2", None),  # MLflow's database was made anew
    ],
)
def test_a_start_is_fit_unless_its_line_was_refused_or_rolled_back(lake, told, version, why):
    said = Lineage(lake, moves(*(f"register {number}" for number in range(1, 6)), *told)).unfit(version)
    assert (said is None) == (why is None), said
    assert why is None or why.replace("01:00", "06:00") in said


def test_the_line_of_a_version_that_the_tables_do_not_know_is_the_version_alone(tmp_path):
    lineage = Lineage(Lake(str(tmp_path)), moves("register 1", "promote 1"))
    assert [*lineage.line("1")] == ["1"]
    assert [*lineage.line("9")] == ["9"]
