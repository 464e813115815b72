"""The command line: its help, its reports and its exit codes."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

from lastaisle import cli
from lastaisle.cli.terminal import open_replay_runs, read_settings, read_values, where_searched
from lastaisle.errors import ExitCode, NotEnoughDataError
from lastaisle.lake import Lake
from lastaisle.release.online import OnlineReport
from lastaisle.settings import Settings
from models.by_name import MODEL_NAMES

from .conftest import run

ROOT = Path(__file__).resolve().parents[2]
COMMANDS = [
    *(
        "ingest",
        "lag",
        "collect",
        "train",
        "tune",
        "evaluate",
        "release",
        "rollback",
        "online",
        "maintain",
        "drift",
        "abandonment",
        "attribute",
        "contracts",
        "keys",
        "metrics",
    ),
    *("replay", "simulate", "benchmark", "status", "tables", "quarantine"),
]


@pytest.mark.parametrize("command", [*COMMANDS, "benchmark accuracy", "contracts diff"])
def test_help_says_what_the_command_does(command):
    shown = CliRunner().invoke(cli.app, [*command.split(), "--help"])
    assert shown.exit_code == 0
    assert len(shown.output.splitlines()) > 5


def test_help_names_every_model():
    shown = CliRunner().invoke(cli.app, ["benchmark", "accuracy", "--help"], env={"COLUMNS": "300"})
    assert set(MODEL_NAMES) <= set(re.findall(r"\w+", shown.output))


@pytest.mark.training
@pytest.mark.parametrize("name", MODEL_NAMES)
def test_every_model_can_be_measured_with_the_same_options(name, tmp_path):
    sessions = [f"i{start % 9} i{(start + 1) % 9} i{(start + 2) % 9}" for start in range(60)]
    (tmp_path / "train.txt").write_text("\n".join(sessions))
    (tmp_path / "test.tsv").write_text("i1 i2\ti3\ni4\ti5\n")
    arguments = ["benchmark", "accuracy", "--model", name, "--report", str(tmp_path / "report.json")]
    arguments += ["--train", str(tmp_path / "train.txt"), "--test", str(tmp_path / "test.tsv")]
    for option in ("epochs=1", "embedding_size=8", "layers=2", "loss=bpr_max", "alpha=0.5"):
        arguments += ["--set", option]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["model"], report["targets"], report["items"]) == (name, 2, 9)
    assert report["options"]["loss"] == "bpr_max"
    assert report["metrics"]["hit_rate@20"] == 1.0


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("ingest", "--source", "/no/such/logs"), 3, "/no/such/logs"),
        (("ingest", "--source", ".", "--format", "cobol"), 3, "cobol"),
        (("ingest", "--source", "kafka://shop/clicks"), 3, "LASTAISLE_KAFKA"),
        (("lag", "--source", "kafka://shop/clicks"), 3, "LASTAISLE_KAFKA"),
        (("lag", "--source", "logs/"), 3, "kafka://<connection>/<topic>"),
        (("collect",), 2, "LASTAISLE_SEGMENT_WRITE_KEYS"),
        (("train",), 5, "ingest some logs first"),
        (("rollback", "--reason", "CTR fell"), 6, "checkout-recommender"),
        (("benchmark", "accuracy", "--train", "none", "--test", "none"), 3, "none"),
        (("train", "--set", "epochs"), 2, "NAME=VALUE"),
        (("train", "--set", "epocs=3"), 2, "no such hyperparameter: epocs"),
        (("train", "--set", "loss=hinge"), 2, "loss cannot be 'hinge'"),
        (("train", "--set", "epochs=abc"), 2, "epochs cannot be 'abc': it is a whole number"),
        (("train", "--set", "epochs=1.5"), 2, "epochs cannot be 1.5: it is a whole number"),
        (("train", "--set", "seed=-1"), 2, "seed cannot be -1"),
        (("train", "--kind", "foo"), 2, "--kind is one of incremental, full, federated, refresh"),
        (("train", "--model", "ensemble", "--set", "members=ensemble"), 2, "members cannot be 'ensemble'"),
        (("train", "--model", "ensemble", "--set", "members=gru+gru"), 2, "'gru' is no model, stands there"),
        (("train", "--model", "ensemble", "--set", "members=gru+oracle"), 2, "'oracle' is no model"),
        (("evaluate", "--run-id", "nonsense"), 6, "no run 'nonsense'"),
        (("release", "--run-id", "nonsense"), 6, "no run 'nonsense'"),
        (("train", "--model", "oracle", "--data-end", "2025-10-09"), 2, "no such model: 'oracle'; there are"),
        (("maintain", "--table", "evnts"), 1, "no table 'evnts'; it has none"),
        (("contracts", "diff", "events", "evnts"), 2, "packaged ones are"),
        (("nonsense",), 2, "nonsense"),
    ],
)
def test_errors_exit_with_a_code_and_without_a_traceback(store, call, arguments, code, message):
    ended = call(*arguments)
    assert ended.returncode == code, ended.stdout + ended.stderr
    assert message in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_the_lake_of_the_demo_is_found_from_its_subfolders(tmp_path, monkeypatch):
    monkeypatch.delenv("LASTAISLE_HOME")
    Lake(tmp_path / ".lastaisle" / "lake").append("batches", pa.table({"batch_id": ["1"]}), key="1")
    (tmp_path / "dags" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "dags" / "deep")
    assert read_settings().home == tmp_path / ".lastaisle"
    assert "batches" in CliRunner().invoke(cli.app, ["maintain"], env={"COLUMNS": "160"}).output
    assert where_searched() == ""


def test_an_unknown_setting_is_refused_without_a_traceback(monkeypatch, call):
    misspelt = "LASTAISLE_SHARDS"[:-1]
    monkeypatch.setenv(misspelt, "4")
    ended = call("train")
    assert ended.returncode == ExitCode.WRONG_REQUEST
    assert f"{misspelt} (did you mean LASTAISLE_SHARDS?)" in " ".join(ended.stderr.split())
    assert "Traceback" not in ended.stderr


def test_a_process_ends_with_the_code_of_its_error_and_without_a_traceback():
    ended = run("lag", "--source", "kafka://shop/clicks")
    assert ended.returncode == ExitCode.SOURCE_UNREADABLE, ended.stderr
    assert "LASTAISLE_KAFKA" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_the_error_of_an_empty_lake_names_the_searched_folders_and_a_solution(tmp_path, monkeypatch, call):
    monkeypatch.delenv("LASTAISLE_HOME")
    monkeypatch.setenv("HOME", str(tmp_path / "user"))
    (tmp_path / "shop" / ".git").mkdir(parents=True)
    (tmp_path / "shop" / "sub").mkdir()
    monkeypatch.chdir(tmp_path / "shop" / "sub")
    ended = call("train")
    assert ended.returncode == ExitCode.NOT_ENOUGH_DATA, ended.stderr
    places = [tmp_path / "shop" / "sub", tmp_path / "shop", tmp_path / "user"]
    assert ", ".join(str(place / ".lastaisle") for place in places) in ended.stderr
    assert f"{tmp_path}/.lastaisle" not in ended.stderr, "the search ends at the root of the checkout"
    assert "set LASTAISLE_HOME" in ended.stderr
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path))
    assert where_searched() == "", "the user named the place"


def test_a_refused_candidate_exits_with_its_own_code(monkeypatch):
    class Refusal:
        promote = False

        def to_json(self) -> str:
            return '{"promote": false, "reasons": ["worse"]}'

    class NoRegistry:
        model_name = "checkout"

        def version_for_run(self, run_id: str) -> str:
            return "8"

        def aliases(self) -> dict[str, str]:
            return {"champion": "1"}

        def plan_of(self, run_id: str) -> str:
            return f"plan of {run_id}"

    monkeypatch.setattr(
        "lastaisle.cli.learning.open_stores", lambda lake: (Settings.of(), None, NoRegistry())
    )
    monkeypatch.setattr("lastaisle.release.release.release_candidate", lambda *_, **__: Refusal())
    finished = []
    monkeypatch.setattr("lastaisle.training.refresh.finish_refresh", lambda _, plan: finished.append(plan))
    ended = CliRunner().invoke(cli.app, ["release", "--run-id", "r1"])
    assert ended.exit_code == ExitCode.CANDIDATE_REFUSED
    assert finished == ["plan of r1"], "the abandonments count as refreshed, also after a refusal"
    assert "worse" in ended.output
    assert "/#/models/checkout/versions/8?workflowType=machine_learning" in ended.output
    assert "next: lastaisle releases why 8" in ended.output


def test_maintain_reports_its_changes(tmp_path):
    lake = Lake(tmp_path / "lake")
    for number in range(6):
        lake.append("batches", pa.table({"batch_id": [str(number)]}), key=str(number))
    arguments = ["maintain", "--lake", lake.url, "--report", str(tmp_path / "r.json")]
    for flags, files, version in ((["--dry-run"], "6 → 6", "6 → 6"), ([], "6 → 1", "6 → 7")):
        ended = CliRunner().invoke(cli.app, [*arguments, *flags], env={"COLUMNS": "160"})
        assert ended.exit_code == 0, ended.output
        assert re.search(rf"batches +│ {version} +│ {files}", ended.output)
        assert ("nothing was changed" in ended.output) == bool(flags)
    assert json.loads((tmp_path / "r.json").read_text())["tables"][0]["partitions_compacted"] == 1


def test_simulate_writes_one_folder_for_each_day(tmp_path):
    arguments = ("--days", "2", "--sessions-per-day", "20", "--items", "60", "--out", str(tmp_path / "logs"))
    ended = CliRunner().invoke(cli.app, ["simulate", *arguments, "--report", str(tmp_path / "r.json")])
    assert ended.exit_code == 0, ended.output
    assert [path.name for path in sorted((tmp_path / "logs").iterdir())] == ["2025-10-01", "2025-10-02"]
    assert json.loads((tmp_path / "r.json").read_text())["simulated"] is True


@pytest.mark.parametrize(
    ("options", "code", "named"),
    [
        (["--speed", "60"], 2, "--speed needs --live"),
        (["--journal", "kept"], 2, "--journal needs --live"),
        (["--popular-share", "0.5"], 2, "--popular-share needs --live"),
        (["--key-file", "keys"], 2, "--key-file needs --live"),
        (["--live", "http://127.0.0.1:1"], 2, "set LASTAISLE_SERVE_KEY"),
        (["--live", "127.0.0.1:8091"], 2, "is no address of a service"),
        (["--live", "http://127.0.0.1:1", "--key-file", "/none"], 2, "cannot read the file of keys"),
        (["--live", "http://127.0.0.1:1", "--start", "2999-01-01"], 2, "the service refuses feedback of the"),
    ],
)
def test_what_a_live_simulation_lacks_is_named(call, tmp_path, monkeypatch, options, code, named):
    monkeypatch.setenv("COLUMNS", "160")
    if "LASTAISLE_SERVE_KEY" not in named:
        monkeypatch.setenv("LASTAISLE_SERVE_KEY", "a-key")
    ended = call("simulate", "--out", str(tmp_path / "logs"), "--items", "60", *options)
    assert (ended.returncode, ended.stdout) == (code, "")
    assert named in " ".join(ended.stderr.split())
    assert not (tmp_path / "logs").exists()


def test_a_live_day_never_gets_other_events_under_known_ids(call, tmp_path, monkeypatch):
    monkeypatch.setenv("COLUMNS", "200")
    monkeypatch.setenv("LASTAISLE_SERVE_KEY", "a-key")
    day, journal = tmp_path / "logs" / "2999-01-02", tmp_path / "journal"
    day.mkdir(parents=True)
    journal.mkdir()
    options = ["--live", "http://127.0.0.1:1", "--start", "2999-01-01", "--days", "2", "--items", "60"]
    options += ["--journal", str(journal)]
    ended = call("simulate", "--out", str(day.parent), *options)
    assert ended.returncode == 2
    assert f"{day} holds logs of that day already" in " ".join(ended.stderr.split())
    (journal / f"{day.name}.jsonl").touch()  # the journal repeats this day as it was
    ended = call("simulate", "--out", str(day.parent), *options)
    assert "the service refuses feedback of the" in " ".join(ended.stderr.split())


@pytest.mark.training
def test_a_replay_is_reported_drawn_and_logged(tmp_path):
    (tmp_path / "sessions.txt").write_text("".join(f"i{n % 9} i{(n + 1) % 9}\n" for n in range(80)))
    arguments = ["replay", "--source", str(tmp_path / "sessions.txt"), "--format", "sessions"]
    arguments += ["--model", "cooccurrence", "--chart", str(tmp_path / "replay.png")]
    ended = CliRunner().invoke(cli.app, [*arguments, "--report", str(tmp_path / "r.json")])
    assert ended.exit_code == 0, ended.output
    report = json.loads((tmp_path / "r.json").read_text())
    assert [set(entry) for entry in report["periods"]] == 9 * [
        {"period", "trained_until", "sessions", "targets", "new_items", "strategies"}
    ]
    assert list(report["summary"]) == ["frozen", "scratch", "incremental", "ensemble"]
    assert (tmp_path / "replay.png").read_bytes().startswith(b"\x89PNG")
    logged = open_replay_runs(Settings.from_env())
    run_id = re.findall(r"/runs/(\w+)\?", ended.output)[0]
    metrics = logged.metrics(run_id)
    assert metrics["incremental/mean_recall_at_20"] == report["summary"]["incremental"]["recall@20"]
    assert metrics["ensemble/total_train_seconds"] == report["summary"]["ensemble"]["train_seconds"]
    assert json.loads(logged.read_text(run_id, "replay.json") or "") == report


def test_online_reports_its_moves_and_needs_a_champion(tmp_path, monkeypatch):
    champions = ["3", None]
    monkeypatch.setattr("lastaisle.cli.learning.open_stores", lambda lake: (Settings.of(), None, None))
    monkeypatch.setattr("lastaisle.release.release.current_champion", lambda *_: champions.pop(0))
    monkeypatch.setattr("lastaisle.release.release.sync_aliases", lambda *_: {})
    monkeypatch.setattr("lastaisle.training.online.finished_until", lambda lake, limit: limit)
    monkeypatch.setattr(
        "lastaisle.release.online.update_online",
        lambda champion, lake, registry, until: OnlineReport(champion, "4", until, 7, 5, 1, 2500.0, "r1"),
    )
    arguments = ["online", "--until", "2025-10-09T12:00:00", "--report", str(tmp_path / "r.json")]
    assert CliRunner().invoke(cli.app, arguments).exit_code == 0
    assert json.loads((tmp_path / "r.json").read_text()) == {
        "champion": "3",
        "version": "4",
        "until": "2025-10-09T12:00:00+00:00",
        "sessions": 7,
        "items_moved": 5,
        "new_items": 1,
        "sessions_per_second": 2500.0,
        "run_id": "r1",
    }
    refused = CliRunner().invoke(cli.app, arguments)
    assert isinstance(refused.exception, NotEnoughDataError)
    assert "no champion" in str(refused.exception)


def test_hyperparameters_are_read_as_values():
    assert read_values(["epochs=3", "half_life=null", "dropout=0.1"]) == {
        "epochs": 3,
        "half_life": None,
        "dropout": 0.1,
    }
