"""The pages of experiments and bandits: what runs, the verdict in words, and the course of each trial."""

import uuid
from datetime import timedelta

import pyarrow as pa
import pytest

from lastaisle.dashboard.figures.experiments import stage_of
from lastaisle.experiments.analysis.results import newest_results
from lastaisle.experiments.traffic import (
    AnalysisRules,
    Arm,
    Bandit,
    Phase,
    TrafficMove,
    Trial,
    read_traffic,
    write_move,
)
from lastaisle.lake.tables import (
    BANDIT_ARMS,
    BANDIT_ARMS_SCHEMA,
    EXPERIMENT_RESULTS,
    EXPERIMENT_RESULTS_SCHEMA,
)
from tests.dashboard.conftest import NOW
from tests.dashboard.reading import chart_of, lines_of, text_of

BEGAN = NOW - timedelta(days=2)
EXPERIMENT = Trial(
    name="versions",
    kind="experiment",
    arms=(Arm(name="champion"), Arm(name="new", version="3")),
    placements=("cart",),
    starts_at=BEGAN,
    phases=(Phase(starts_at=BEGAN, ranges=(("champion", 0, 5000), ("new", 5000, 10000))),),
    analysis=AnalysisRules(primary="ctr", minimum_effect=0.05, planned_units=1000),
)


def bandit(share):
    base = {"popular": 0.5, "model": 0.5}
    return Trial(
        name="lists",
        kind="bandit",
        arms=(Arm(name="popular", policy="popular"), Arm(name="model")),
        starts_at=BEGAN,
        bandit=Bandit(algorithm="thompson", base=base, floor=0.05, share=share),
    )


def move(source, trial, state="running", reason="It began. It goes on.", at=BEGAN):
    log = read_traffic(source.lake)
    write_move(source.lake, TrafficMove(uuid.uuid4().hex, at, state, trial, reason, "anna"), log)


def add_results(source, *hours, started_at=BEGAN, **more):
    """Add a row an hour: the difference, and both ends of its interval."""
    rows = [
        {
            "experiment": "versions",
            "started_at": started_at,
            "hour": started_at + timedelta(hours=number + 1),
            "metric": "ctr",
            "role": "primary",
            "arm": "new",
            "control": "champion",
            "alpha": 0.05,
            "control_value": 0.1,
            "value": None if values is None else 0.1 + values[0],
            **dict(zip(("difference", "low", "high"), values or (None,) * 3, strict=True)),
            "arm_seen": 40,
            "control_seen": 60,
            "arm_expected": 50.0,
            "control_expected": 50.0,
            "ratio_p": 0.5,
            "state": "running",
            "reason": f"Hour {number}. The rest.",
            "left_out": "{}",
            **more,
        }
        for number, values in enumerate(hours)
    ]
    table = pa.Table.from_pylist(rows, EXPERIMENT_RESULTS_SCHEMA)
    source.lake.append(EXPERIMENT_RESULTS, table, key=uuid.uuid4().hex)


def test_the_list_says_what_runs_and_the_verdict_in_words(reader, source):
    move(source, EXPERIMENT)
    move(source, bandit(0.1), state="stopped", reason="Nobody needs it.", at=NOW)
    add_results(source, None, (0.01, -0.02, 0.04))
    told = text_of(reader.get("/experiments"))
    assert "1 of 2 run now." in told
    assert "versions experiment runs phase 1 of 1 champion 50 %, new 50 %" in told
    assert "Hour 1. The rest." in told, "the newest result of an experiment that runs"
    assert "lists bandit stopped" in told
    assert "Nobody needs it." in told


def test_the_page_of_an_experiment_draws_its_sequence_beside_zero(reader, source):
    move(source, EXPERIMENT)
    add_results(source, None, (0.5, -3.0, 4.0), (0.01, -0.02, 0.04))
    answer = reader.get("/experiments/versions")
    chart = chart_of(answer, "sequence-0")
    (line,) = chart["series"]
    assert line["values"] == [None, None, pytest.approx(0.1)], "far outside: not drawn"
    assert line["low"] == [None, pytest.approx(-1.0), pytest.approx(-0.2)]
    assert line["high"] == [None, pytest.approx(1.0), pytest.approx(0.4)]
    assert chart["limits"] == [[0.0, "no difference"], [0.05, "least effect"], [-0.05, ""]]
    assert chart["shows"] == [0.0, 0.05, -0.05]
    assert lines_of(answer, "allocation")["new"] == [40, 40, 40]
    told = text_of(answer)
    assert "ctr primary new 0.1 0.11 +10.0% -20.0% to +40.0%" in told
    assert "the arms get the shoppers that their shares expect" in told


def test_a_broken_sample_ratio_is_told(reader, source):
    move(source, EXPERIMENT)
    add_results(source, (0.01, -0.02, 0.04), ratio_p=0.0001)
    assert "the result is invalid" in text_of(reader.get("/experiments/versions"))


def test_an_experiment_without_results_says_what_to_do(reader, source):
    move(source, EXPERIMENT)
    assert "lastaisle experiments analyze" in text_of(reader.get("/experiments/versions"))


def test_the_newest_start_of_an_experiment_counts(source):
    add_results(source, (0.3, 0.2, 0.4), started_at=BEGAN - timedelta(days=9))
    add_results(source, (0.1, 0.0, 0.2), (0.2, 0.1, 0.3))
    (row,) = newest_results(source.lake)["versions"]
    assert (row["started_at"], row["difference"]) == (BEGAN, 0.2)


def test_the_page_of_a_bandit_draws_shares_propensities_and_regret(reader, source):
    move(source, bandit(0.1))
    rows = [
        {
            "bandit": "lists",
            "learned_until": BEGAN + timedelta(days=day),
            "arm": arm,
            "lists": 100,
            "rewards": 10,
            "mean": 0.1,
            "low": 0.05,
            "high": 0.2,
            "mean_propensity": 0.5,
            "probability": chance,
            "estimated_regret": regret,
        }
        for day, chances in enumerate([(0.5, 0.5), (0.1, 0.9)])
        for arm, chance, regret in zip(("popular", "model"), chances, (7.5, 0.0), strict=True)
    ]
    table = pa.Table.from_pylist(rows, BANDIT_ARMS_SCHEMA)
    source.lake.append(BANDIT_ARMS, table, key="rows")
    answer = reader.get("/experiments/lists")
    assert lines_of(answer, "probability") == {"model": [0.5, 0.9], "popular": [0.5, 0.1]}
    assert lines_of(answer, "regret") == {"model": [0.0, 0.0], "popular": [7.5, 7.5]}
    told = text_of(answer)
    assert "popular 100 10 10.00 % 5.00 % to 20.00 % 10.0 % 50.0 % 7.5" in told
    assert "10% of the lists follow its policy" in told


@pytest.mark.parametrize(
    ("share", "state", "words"),
    [
        (0.0, "running", "only observes"),
        (1.0, "running", "no apprentice"),
        (0.5, "stopped", "It ended when 50%"),
    ],
)
def test_the_stage_of_an_apprentice_is_told(share, state, words):
    assert words in stage_of(bandit(share), state)


def test_a_bandit_that_has_not_learned_says_what_to_do(reader, source):
    move(source, bandit(0.0))
    assert "lastaisle bandits update" in text_of(reader.get("/experiments/lists"))


@pytest.mark.parametrize("kind", ["canary", "shadow"])
def test_canaries_and_shadows_have_pages(reader, source, kind):
    arms = (
        (Arm(name="control"), Arm(name=kind, version="4"))
        if kind == "canary"
        else (Arm(name=kind, version="4"),)
    )
    move(source, Trial(name=f"{kind}-4", kind=kind, arms=arms, starts_at=BEGAN, share=0.2))
    answer = reader.get(f"/experiments/{kind}-4")
    assert 'href="/releases/4"' in answer.text
    assert "It began. It goes on." in text_of(answer)


@pytest.mark.parametrize("name", ["other", "%3Cb%3E", "versions%00", "ä"])
def test_a_trial_that_there_is_not_is_refused_in_words(reader, source, name):
    move(source, EXPERIMENT)
    answer = reader.get(f"/experiments/{name}")
    assert answer.status_code == 404
    assert "there is versions" in answer.text
    assert "<b>" not in answer.text


def test_a_row_that_cannot_be_read_is_named(reader, source):
    move(source, EXPERIMENT)
    rows = source.lake.scan("traffic").to_pylist()
    broken = pa.Table.from_pylist([{**rows[0], "entry": 1, "subject": "other", "trial": "{"}])
    source.lake.append("traffic", broken.cast(source.lake.scan("traffic").schema), key="broken")
    told = text_of(reader.get("/experiments"))
    assert "row 1 of the table traffic, of other, cannot be read" in told
    assert "versions experiment" in told
