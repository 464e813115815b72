"""Tuning: what judges, what is remembered, and what a kill -9 leaves."""

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.cli.terminal import read_values
from lastaisle.errors import NotEnoughDataError
from lastaisle.evaluation.benchmark import read_sessions
from lastaisle.registry.registry import Registry
from lastaisle.settings import Settings
from lastaisle.training.study import PARENT_TAG, TRIAL_TAG, TuningError
from lastaisle.training.tune import Search, tune
from models.by_name import MODEL_NAMES
from models.data.sequences import SessionLog
from models.options import TrainingOptions
from models.search_space import SEARCH_SPACES, Between, search_space
from models.stored import ModelError

pytestmark = pytest.mark.training

KILLED_IN_THE_THIRD_TRIAL = """
import os, signal, sys
import models.evaluation.ranking
from lastaisle import cli
rank, calls = models.evaluation.ranking.rank_targets, []
def killed(*arguments):
    calls.append(1)
    if len(calls) == 3:
        os.kill(os.getpid(), signal.SIGKILL)
    return rank(*arguments)
models.evaluation.ranking.rank_targets = killed
sys.argv[0] = "lastaisle"
cli.main()
"""


def sessions(n=400, seed=1, items=50):
    """Return sessions in which what follows an item changes halfway: recent ones tell more."""
    generator = np.random.default_rng(seed)
    lists = []
    for number in range(n):
        item, session = int(generator.integers(items)), []
        for _ in range(5):
            session.append(f"i{item}")
            item = (item * 3 + int(generator.integers(2)) + (1 if number < n / 2 else 20)) % items
        lists.append(session)
    return lists


@pytest.fixture(scope="module")
def empty_store(tmp_path_factory):
    """A fresh MLflow database, since to create one takes seconds."""
    home = tmp_path_factory.mktemp("store")
    Registry(Settings.of(home=home)).aliases()
    return home / "mlflow" / "mlflow.db"


@pytest.fixture
def home(empty_store, tmp_path, monkeypatch):
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    shutil.copy(empty_store, tmp_path / "home" / "mlflow")
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def split(tmp_path):
    path = tmp_path / "train.txt"
    path.write_text("".join(" ".join(session) + "\n" for session in sessions()))
    return path


@pytest.fixture
def store(home):
    return Registry(Settings.of(home=home))


def search(**options):
    return Search(**{"model": "cooccurrence", "options": TrainingOptions(), "trials": 3, **options})


def nested(store, run_id):
    found = store.client.search_runs([store.experiment_id], f"tags.`{PARENT_TAG}` = '{run_id}'")
    return {int(run.data.tags[TRIAL_TAG]): run for run in found}


def test_the_best_of_all_trials_is_found_and_logged(store, home):
    log = SessionLog.from_lists(sessions())
    trials, shares = [], []
    done = tune(
        log, search(), store, home, progress=lambda share, _: shares.append(share), on_trial=trials.append
    )
    assert (done["finished"], done["tried"], done["failed"]) == (3, 3, 0)
    assert (done["sessions"], done["tail_sessions"], done["targets"]) == (360, 40, 160)
    assert done["trials"][0]["options"] == {"half_life": TrainingOptions().half_life}  # as they were
    assert done["start"] == done["trials"][0]["value"] == trials[0]["value"]
    assert done["best"]["value"] == max(entry["value"] for entry in done["trials"]) == trials[-1]["best"]
    for entry in done["trials"]:
        assert entry["value"] == pytest.approx(entry["metrics"]["mrr@20"] + entry["metrics"]["recall@20"])
    assert shares == sorted(shares)
    assert shares[-1] == 1.0
    runs = nested(store, done["run_id"])
    assert {run.info.status for run in runs.values()} == {"FINISHED"}
    for entry in done["trials"]:
        run = runs[entry["trial"]]
        assert run.data.metrics["objective"] == pytest.approx(entry["value"])
        assert run.data.metrics["recall_at_20"] == pytest.approx(entry["metrics"]["recall@20"])
        assert run.data.params["half_life"] == str(entry["options"]["half_life"])
    whole = store.client.get_run(done["run_id"])
    assert whole.data.metrics["best"] == pytest.approx(done["best"]["value"])
    assert whole.info.status == "FINISHED"


def test_only_the_newest_sessions_judge_and_none_of_them_trains(store, home, monkeypatch):
    from models.counting.popularity import Popularity

    seen = {}
    fit = Popularity.fit
    monkeypatch.setattr(
        Popularity, "fit", lambda self, log, *rest: (seen.update(log=log), fit(self, log, *rest))[1]
    )
    lists = [[f"old{number % 7}", "x"] for number in range(300)]
    lists += [[f"new{number % 7}", "y", "z"] for number in range(100)]
    order = np.random.default_rng(0).permutation(400)
    log = SessionLog.from_lists([lists[at] for at in order], ended_at=order.astype(float))
    done = tune(log, search(model="popularity", trials=1, tail=0.25), store, home)
    assert set(seen["log"].ids()) == {"x", *(f"old{number}" for number in range(7))}
    assert (done["sessions"], done["targets"]) == (300, 200)
    assert done["best"]["value"] == 0.0  # the tail's items are unknown to what trained


def test_a_killed_tuning_goes_on(store, home, split, tmp_path):
    arguments = ["tune", "--train", str(split), "--model", "cooccurrence", "--trials", "4", "--study", "mine"]
    killed = subprocess.run(
        [sys.executable, "-c", KILLED_IN_THE_THIRD_TRIAL, *arguments],
        capture_output=True,
        text=True,
        env={**os.environ, "LASTAISLE_HOME": str(home)},
        check=False,
        timeout=200,
    )
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    values = [line.split()[2] for line in killed.stderr.splitlines() if line.startswith("trial ")]
    assert len(values) == 2
    report = tmp_path / "report.json"
    ended = CliRunner().invoke(cli.app, [*arguments, "--report", str(report)], env={"COLUMNS": "150"})
    assert ended.exit_code == 0, ended.output
    done = json.loads(report.read_text())
    assert (done["study"], done["finished"], done["tried"], done["failed"]) == ("mine", 4, 2, 1)
    assert [entry["trial"] for entry in done["trials"]] == [0, 1, 3, 4]
    assert [f"{entry['value']:.4f}" for entry in done["trials"][:2]] == values
    tuning = Registry(Settings.of(home=home, experiment="lastaisle-tuning"))
    statuses = {number: run.info.status for number, run in nested(tuning, done["run_id"]).items()}
    assert statuses == {0: "FINISHED", 1: "FINISHED", 2: "KILLED", 3: "FINISHED", 4: "FINISHED"}
    printed = ended.output.splitlines()[-1]
    assert printed.startswith("--model cooccurrence --set half_life=")
    chosen = read_values(printed.split("--set ")[1:])
    assert chosen == done["best"]["options"]
    TrainingOptions.from_dict(chosen)


def test_a_finished_study_is_only_reported(store, home):
    log = SessionLog.from_lists(sessions())
    first = tune(log, search(), store, home)
    again = tune(log, search(), store, home)
    assert again == {**first, "tried": 0}
    more = tune(log, search(trials=5), store, home)
    assert (more["finished"], more["tried"], more["study"]) == (5, 2, first["study"])
    assert more["run_id"] == first["run_id"]


def test_another_search_is_another_study(store, home):
    log = SessionLog.from_lists(sessions())
    mine = search(study="mine", trials=1)
    tune(log, mine, store, home)
    with pytest.raises(TuningError, match=r"'mine' of .*studies.db was begun with .*\"data\""):
        tune(SessionLog.from_lists(sessions(seed=2)), mine, store, home)
    with pytest.raises(TuningError, match=r"\"metric\": \"mrr@20\+recall@20\"}, now it is {.*ndcg@5"):
        tune(log, search(study="mine", metric="ndcg@5"), store, home)
    assert tune(log, search(metric="ndcg@5", trials=1), store, home)["study"] != "mine"


def test_two_processes_do_not_tune_one_study(store, home):
    import fcntl

    home.mkdir(exist_ok=True)
    with (home / "mine.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        with pytest.raises(TuningError, match="another process tunes the study 'mine'"):
            tune(SessionLog.from_lists(sessions()), search(study="mine"), store, home)


def test_time_ends_a_tuning_after_one_trial_or_more(store, home):
    done = tune(SessionLog.from_lists(sessions()), search(trials=50, minutes=0.0), store, home)
    assert done["finished"] == done["tried"] == 1


def test_a_trial_that_diverges_has_the_value_zero(store, home, monkeypatch):
    import dataclasses

    from models.counting.cooccurrence import Cooccurrence

    fit = Cooccurrence.fit

    def diverge(self, *rest):
        return dataclasses.replace(fit(self, *rest), losses=(1.0, float("nan")))

    monkeypatch.setattr(Cooccurrence, "fit", diverge)
    assert tune(SessionLog.from_lists(sessions()), search(trials=1), store, home)["best"]["value"] == 0.0


def test_a_failed_trial_ends_the_tuning_and_does_not_count(store, home, monkeypatch):
    log = SessionLog.from_lists(sessions())
    with monkeypatch.context() as patch:
        patch.setattr("lastaisle.training.tune.rank_targets", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            tune(log, search(study="mine"), store, home)
    done = tune(log, search(study="mine", trials=1), store, home)
    assert (done["finished"], done["failed"]) == (1, 1)
    assert done["start"] is not None
    assert [run.info.status for _, run in sorted(nested(store, done["run_id"]).items())] == [
        "FAILED",
        "FINISHED",
    ]


def test_the_lakes_window_is_tuned_without_its_last_hours(home, monkeypatch, tmp_path):
    import pyarrow as pa

    from lastaisle.lake import Lake

    rows = [
        {"session_id": f"s{number}", "user_id": f"u{number}", "item_id": item, "event_type": "item_viewed"}
        | {"sequence": step, "device_type": "mobile", "consent_personalization": True}
        | {"occurred_at": 1_760_000_000 + 300 * number + step, "batch_id": "b"}
        for number, session in enumerate(sessions())
        for step, item in enumerate(session)
    ]
    table = pa.Table.from_pylist(rows)
    at = table["occurred_at"].cast(pa.timestamp("s", "UTC")).cast(pa.timestamp("us", "UTC"))
    table = table.set_column(table.column_names.index("occurred_at"), "occurred_at", at)
    Lake(home / "lake").append("events", table.append_column("event_date", at.cast(pa.date32())), key="x")
    report = tmp_path / "report.json"
    arguments = ["tune", "--model", "cooccurrence", "--trials", "1", "--report", str(report)]
    monkeypatch.setitem(SEARCH_SPACES, "cooccurrence", {"memory": Between(0.1, 0.9)})
    ended = CliRunner().invoke(cli.app, arguments)
    assert ended.exit_code == 0, ended.output
    done = json.loads(report.read_text())
    assert done["sessions"] + done["tail_sessions"] == 400 - 8 * 12  # twelve an hour
    assert done["best"]["options"] == {"memory": 0.5}


def test_an_impossible_search_is_refused_with_its_reason(store, home):
    log = SessionLog.from_lists(sessions())
    with pytest.raises(NotEnoughDataError, match=r"of 90 sessions a tail of 0.1 leaves 81 .* and 36 targets"):
        tune(log.select(slice(90)), search(), store, home)
    with pytest.raises(TuningError, match="nothing to search"):
        tune(log, search(half_life_hours=24.0), store, home)
    with pytest.raises(TuningError, match=r"cannot tune for 'mrr@20\+cost@20'"):
        tune(log, search(metric="mrr@20+cost@20"), store, home)
    with pytest.raises(ModelError, match="no search space for model 'oracle'"):
        tune(log, search(model="oracle"), store, home)
    for wrong in ({"tail": 0.0}, {"tail": 1.0}, {"trials": 0}, {"study": "a b"}):
        with pytest.raises(TuningError, match="received"):
            search(**wrong)


def test_defaults_lie_inside_every_range():
    defaults = TrainingOptions().to_dict()
    for model in MODEL_NAMES:
        for name, found in search_space(model).items():
            if isinstance(found, Between):
                assert found.low <= defaults[name] <= found.high
                TrainingOptions().but(**{name: found.low})
                TrainingOptions().but(**{name: found.high})
            else:
                assert defaults[name] in found.values
                for value in found.values:
                    TrainingOptions().but(**{name: value})


def test_fractions_are_tried_as_they_are_printed(store, home, monkeypatch):
    monkeypatch.setitem(SEARCH_SPACES, "cooccurrence", {"memory": Between(0.1, 0.9)})
    done = tune(SessionLog.from_lists(sessions()), search(trials=2), store, home)
    memory = done["trials"][1]["options"]["memory"]
    assert memory == float(f"{memory:.4g}") != 0.5
    assert nested(store, done["run_id"])[1].data.params["memory"] == str(memory)


def test_the_file_of_the_command_line_is_read_as_the_benchmark_does(split):
    assert list(read_sessions(Path(split))) == sessions()


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"minutes": float("nan")}, "minutes should be at least 0, received nan"),
        ({"minutes": -1.0}, "minutes should be at least 0"),
        ({"trials": 0}, "trials should be at least 1"),
        ({"tail": float("nan")}, "a share between 0 and 1"),
        ({"study": "a/b"}, "a study's name"),
        ({"model": "ensemble", "options": TrainingOptions(members="gru+ensemble")}, "members cannot be"),
    ],
)
def test_a_search_that_cannot_be_is_refused_before_any_trial(wrong, message):
    with pytest.raises((TuningError, ModelError), match=message):
        Search(**{"model": "cooccurrence", "options": TrainingOptions(), **wrong})
