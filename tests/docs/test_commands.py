"""Every command of README and docs/ is run, or held against the program that would run it.

Quick commands run for real in a folder with a small lake. The others are parsed by the real program's own
parser: the subcommand and each option exist, required options are there, values have the right type.
"""

from __future__ import annotations

import ast
import base64
import contextlib
import hmac
import importlib
import json
import os
import re
import shlex
import subprocess
import sys
import time
import tomllib
from datetime import UTC, datetime
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import click
import pytest
import typer
import yaml
from airflow.api_fastapi import core_api
from starlette.testclient import TestClient
from typer.testing import CliRunner

from data_contracts import domain_key
from lastaisle import cli
from lastaisle.delivery.signature import headers_of
from lastaisle.experiments.definition.definition import read_definition
from lastaisle.experiments.definition.moves import next_move
from lastaisle.experiments.traffic import read_traffic, write_move
from lastaisle.lake import Lake
from lastaisle.serve.consents.consents import Consents
from lastaisle.settings import Settings
from lastaisle.settings.others import OTHER_VARIABLES
from lastaisle.settings.settings import known_variables
from lastaisle_airflow.local import serving
from lastaisle_airflow.local.mlflow import accounts
from models.stored import digest_of
from tests.docs.pages import PAGES, ROOT, Command, blocks, code_in_sentences, commands
from tests.serve.toys import KEY, ToyService

COMMANDS = commands()
LASTAISLE = typer.main.get_command(cli.app)
#: Subcommands that run for real: they need neither a broker nor TensorFlow.
QUICK = ("simulate", "ingest", "maintain", "abandonment", "contracts")
#: What says that a command of them needs a service.
NEEDS_SERVICE = ("kafka://", "--live")
#: What a reader makes by a command of the pages.
MADE_BY_READER = {"docker/.env"}
#: The commands of the folder bin/.
PROGRAMS = ("lastaisle", "airflow", "mlflow")

PARSE_FOR_AIRFLOW = """
import json, sys
from airflow.cli.cli_parser import get_parser
for words in json.load(sys.stdin):
    print(json.dumps(words), flush=True)
    get_parser().parse_args(words)
"""


def program(command: Command) -> str:
    """Name the rule for a command: the program, without the folder it is in."""
    first = command.words[0]
    if first == "export":
        return "export"
    if first.startswith("bin/") and first.removeprefix("bin/") in PROGRAMS:
        return first.removeprefix("bin/")
    if first == ".venv/bin/python" and command.words[1].startswith("benchmarks/"):
        return "benchmark"
    if command.words[:2] == (".venv/bin/python", "-m"):
        return command.words[2].rpartition(".")[2]
    return first


def of(name: str) -> list[Command]:
    found = [command for command in COMMANDS if program(command) == name]
    assert found, f"no page has a command of {name}: take its rule out"
    return found


def parse(group: click.Command, words: list[str]) -> list[str]:
    """Parse as the program itself would, without running anything; return the path of the subcommand."""
    path: list[str] = []
    command, arguments, context = group, words, None
    while True:
        try:
            context = command.make_context(command.name, list(arguments), parent=context)
        except (typer.Exit, click.exceptions.Exit) as left:  # --help
            assert left.exit_code == 0
            return path
        rest = [*getattr(context, "_protected_args", []), *context.args]
        if not isinstance(command, click.Group) and not hasattr(command, "commands"):
            assert not rest, f"arguments that nothing reads: {rest}"
            return path
        if not rest and command.invoke_without_command:
            return path
        name, command, arguments = command.resolve_command(context, rest)
        path.append(name)


def test_every_command_has_a_rule():
    ruled = {"lastaisle", "airflow", "mlflow", "make", "curl", "benchmark", "cp", "docker", "export"}
    ruled.add("accounts")
    assert len(COMMANDS) > 40
    assert not [str(command) for command in COMMANDS if program(command) not in ruled]


@pytest.mark.parametrize("command", of("lastaisle"), ids=str)
def test_lastaisle_understands(command):
    parse(LASTAISLE, list(command.words[1:]))


@pytest.mark.parametrize(
    "command",
    [
        one
        for one in of("lastaisle")
        if one.words[1] in QUICK and not any(word in one.text for word in NEEDS_SERVICE)
    ],
    ids=str,
)
def test_quick_commands_of_lastaisle_run(command, reader, monkeypatch):
    if "rees46" in command.words:
        monkeypatch.chdir(reader / "rees46")
    words = [str(ROOT / word) if word.endswith(".odcs.yaml") else word for word in command.words[1:]]
    done = CliRunner().invoke(cli.app, words, env=command.variables)
    assert done.exit_code == 0, done.output
    if "--report" in words:
        assert json.loads(Path(words[words.index("--report") + 1]).read_text())["rows_clean"] == 1


@pytest.mark.parametrize("command", of("make"), ids=str)
def test_make_has_the_target(command):
    done = subprocess.run(
        ["make", "-n", *command.words[1:]], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr


def test_airflow_understands(tmp_path):
    given = [list(command.words[1:]) for command in of("airflow")]
    done = subprocess.run(
        [sys.executable, "-c", PARSE_FOR_AIRFLOW],
        input=json.dumps(given),
        env={**os.environ, "AIRFLOW_HOME": str(tmp_path), "AIRFLOW__CORE__LOAD_EXAMPLES": "False"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, f"{done.stdout.splitlines()[-1:]}: {done.stderr[-600:]}"


@pytest.mark.parametrize("command", of("airflow"), ids=str)
def test_airflow_knows_the_dag_and_its_parameters(command):
    words = command.words[1:]
    dag = None
    if words[:2] in (("dags", "trigger"), ("dags", "pause"), ("dags", "unpause")):
        dag = next(word for word in words[2:] if not word.startswith("-"))
    elif "--dag-id" in words:
        dag = words[words.index("--dag-id") + 1]
    if dag is None:
        return
    source = (ROOT / "dags" / f"{dag}.py").read_text(encoding="utf-8")
    if "--conf" in words:
        for name in json.loads(words[words.index("--conf") + 1]):
            assert f'"{name}"' in source, f"{dag} has no parameter {name}"


@pytest.mark.parametrize("command", of("airflow"), ids=str)
def test_extras_of_connections_are_json(command):
    if "--conn-extra" in command.words:
        extra = json.loads(command.words[command.words.index("--conn-extra") + 1])
        assert extra["bootstrap.servers"]


@pytest.mark.parametrize("command", of("mlflow"), ids=str)
def test_mlflow_understands(command):
    from mlflow.cli import cli as mlflow  # a second to import, which the other tests need not wait for

    parse(mlflow, list(command.words[1:]))


@pytest.mark.parametrize("command", of("accounts"), ids=str)
def test_mlflow_understands_the_options_of_its_server(command):
    from mlflow.cli import cli as mlflow  # a second to import, which the other tests need not wait for

    parse(mlflow, ["server", "--app-name", accounts.APP, *command.words[3:]])
    assert importlib.import_module(command.words[2]) is accounts


def address_of(command):
    return urlsplit(next(word for word in command.words if word.startswith("http")))


def asks_service(command):
    return not asks_airflow(command) and address_of(command).path.startswith("/v1/")


def asks_airflow(command):
    return any(word.startswith("$AIRFLOW/") for word in command.words)


@pytest.mark.parametrize("command", [one for one in of("curl") if asks_airflow(one)], ids=str)
def test_airflow_answers_the_address(command):
    page = Path(core_api.__file__).parent / "openapi" / "v2-rest-api-generated.yaml"
    described = yaml.load(page.read_text(encoding="utf-8"), yaml.CSafeLoader)
    path = next(word for word in command.words if word.startswith("$AIRFLOW/")).removeprefix("$AIRFLOW")
    method = command.words[command.words.index("-X") + 1].lower()
    (operation,) = (
        methods[method]
        for template, methods in described["paths"].items()
        if method in methods and re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", template), path)
    )
    schema = operation["requestBody"]["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
    sent = json.loads(command.words[command.words.index("-d") + 1])
    assert set(sent) == set(described["components"]["schemas"][schema]["properties"])


@pytest.mark.parametrize(
    "command", [one for one in of("curl") if not asks_airflow(one) and not asks_service(one)], ids=str
)
def test_mlflow_answers_the_address(command):
    address = address_of(command)
    if address.path == "/invocations":
        sent = json.loads(command.words[command.words.index("-d") + 1])
        assert set(sent) == {"dataframe_split", "params"}
        assert sent["dataframe_split"]["columns"] == ["items"]
        return
    from mlflow.server.handlers import get_endpoints

    assert (address.path, "GET") in [
        (path, method) for path, _, methods in get_endpoints() for method in methods
    ]
    assert set(parse_qs(address.query)) == {"name", "alias"}


@pytest.mark.parametrize("command", [one for one in of("curl") if asks_service(one)], ids=str)
def test_the_service_answers_the_address(command, tmp_path):
    settings = Settings.of(home=tmp_path)
    assert address_of(command).port == settings.serve.port
    key_file = serving.own_key_file(settings).relative_to(settings.home)
    keys = (f"$(cat .lastaisle/{key_file})", "$LASTAISLE_SERVE_KEYS")
    assert any(f"Authorization: Bearer {key}" in command.words for key in keys)
    sent = command.words[command.words.index("-d") + 1] if "-d" in command.words else None
    consents = Consents(Lake(str(tmp_path)), 0.05)
    consents.look()
    with TestClient(ToyService(consents=consents).app, headers={"Authorization": f"Bearer {KEY}"}) as client:
        answer = client.request("POST" if sent else "GET", address_of(command).path, content=sent)
    assert answer.status_code == 200, answer.text


def check_benchmark(script: str, options: list[str]) -> None:
    source = (ROOT / script).read_text(encoding="utf-8")
    for option in options:
        assert not option.startswith("--") or f'"{option}"' in source, f"{script} has no option {option}"


@pytest.mark.parametrize("command", of("benchmark"), ids=str)
def test_benchmarks_have_the_options(command):
    check_benchmark(command.words[1], list(command.words[2:]))


@pytest.mark.parametrize("command", [*of("cp"), *of("docker")], ids=str)
def test_files_for_docker_exist(command):
    words = list(command.words)
    given = words[1] if words[0] == "cp" else words[words.index("-f") + 1]
    text = (ROOT / given).read_text(encoding="utf-8")
    for name in command.variables:
        assert f"${{{name}:" in text, f"{given} does not read {name}"
    if "--profile" in words:
        assert f"profiles: [{words[words.index('--profile') + 1]}]" in text
    if "--scale" in words:
        assert f"\n  {words[words.index('--scale') + 1].partition('=')[0]}:\n" in text


KNOWN = {*known_variables(), *(other.name for other in OTHER_VARIABLES)}


def is_known(name):
    """Tell whether a variable exists; * stands for any end, and pages may name the beginning alone."""
    return f"{name}_*" in KNOWN or any(fnmatchcase(name, known) for known in KNOWN)


@pytest.mark.parametrize("command", [one for one in COMMANDS if one.variables], ids=str)
def test_variables_that_a_command_sets_exist(command):
    ours = {name for name in command.variables if name.startswith("LASTAISLE_")}
    assert all(map(is_known, ours)), ours
    for name in ours & {"LASTAISLE_KAFKA"}:
        assert json.loads(command.variables[name])["bootstrap.servers"]


@pytest.mark.parametrize(("page", "code"), sorted(set(code_in_sentences())), ids=str)
def test_code_in_a_sentence_names_what_exists(page, code):
    if "|" in code:  # a list of commands, such as `lastaisle ingest | train`
        return
    for name in re.findall(r"LASTAISLE_[A-Z_]+[A-Z]", code):
        assert is_known(name), name
    words = shlex.split(code.replace("…", ""))
    if words[0] in ("lastaisle", "bin/lastaisle") and len(words) > 1:
        check_words_of_lastaisle(words[1:])
    elif words[0] == "make" and len(words) > 1:
        assert re.search(rf"^{words[1]}:", (ROOT / "Makefile").read_text(), re.MULTILINE), code
    elif words[0].startswith("benchmarks/") and words[0].endswith(".py"):
        check_benchmark(words[0], words[1:])
    elif re.fullmatch(r"(dags|plugins|models|docker|benchmarks|tests|data_contracts|docs)/[\w./-]*", code):
        assert code in MADE_BY_READER or (ROOT / code).exists(), code


def check_words_of_lastaisle(words: list[str]) -> None:
    """Hold a command in a sentence, whose required options may be missing, against the real one."""
    command: click.Command = LASTAISLE
    for word in words:
        if word.startswith("--") and word != "--help":
            assert word in {
                name for option in command.params for name in (*option.opts, *option.secondary_opts)
            }
        elif hasattr(command, "commands") and not word.startswith("-"):
            command = command.commands[word]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_python_blocks_run_or_compile(page, reader, capsys, tmp_path):
    for block in blocks(page, "python"):
        ast.parse(block)
        if ".lastaisle/lake" in block:
            exec(compile(block, page.name, "exec"), {})
            assert "rows_quarantined" in capsys.readouterr().out
        elif ".lastaisle/lineage" in block:
            file = Path(".lastaisle/lineage/2025-10-09.jsonl")  # in the reader's folder
            file.parent.mkdir(parents=True, exist_ok=True)
            told = {"job": {"name": "a.b"}, "inputs": [{"name": "raw"}], "outputs": [{"name": "made"}]}
            file.write_text(f"{json.dumps(told)}\n")
            exec(compile(block, page.name, "exec"), {})
            assert capsys.readouterr().out == "a.b ['raw'] -> made\n"
        elif "def pseudonym(" in block:
            exec(compile(block, page.name, "exec"), names := {})
            key = domain_key(b"k" * 32, "user_id")
            expected = hmac.digest(key, b"anna", "sha256").hex()[:32]
            assert names["pseudonym"](b"k" * 32, "user_id", "anna") == expected
        elif "def digest_of(" in block:
            exec(compile(block, page.name, "exec"), names := {})
            for place in ("scorer/variables", "registered_model_meta", "MLmodel", "vocabulary.json"):
                file = tmp_path / "packed" / place
                file.parent.mkdir(parents=True, exist_ok=True)
                file.write_text(place)
            assert names["digest_of"](tmp_path / "packed") == digest_of(tmp_path / "packed")
        elif "def is_genuine(" in block:
            exec(compile(block, page.name, "exec"), names := {})
            secret, body = f"whsec_{base64.b64encode(b'k' * 32).decode()}", b'{"type": "webhook.test"}'
            for moment, is_genuine in ((time.time(), True), (time.time() - 301, False)):
                headers = headers_of("msg_1", body, [b"o" * 32, b"k" * 32], int(moment))
                assert names["is_genuine"](secret, headers, body) is is_genuine
                assert not names["is_genuine"](secret, headers, body + b" ")
        elif "from checkout_model import" in block:
            continue  # tests/models/serving/test_light.py runs it
        elif "LastaisleNotifier(" in block:
            exec(compile(block, page.name, "exec"), names := {})
            assert {"on_failure_callback", "on_success_callback"} <= set(names["default_args"])
        elif "two-models" in block:
            names = run_of_experiments(block.replace("s3://shop/lake", "lake"), page, tmp_path)
            arms = names["arms"] if "arms" in names else [names["found"].variant]
            assert arms == ["control"]
        else:
            assert 'load_model("models:/checkout-recommender@champion")' in block, "no rule for this block"


def run_of_experiments(block: str, page: Path, folder: Path) -> dict[str, object]:
    """Run a block beside a lake in which the experiment of the page runs; return its names."""
    lake, pseudonym, now = Lake(folder / "lake"), "0" * 32, datetime.now(UTC)
    (folder / "two-models.yaml").write_text(
        "name: two-models\narms: [{name: control}, {name: attention, version: '7'}]\n"
        "allocation: {control: 0.99, attention: 0.01}\nanalysis: {primary: ctr, minimum_effect: 0.1}\n"
    )
    definition = read_definition(folder / "two-models.yaml")
    log = read_traffic(lake)
    if not log.moves:
        trial = definition.trial(now, lambda *_: "")
        write_move(lake, next_move(log, trial, "running", now, reason="", actor=""), log)
    names: dict[str, object] = {"pseudonyms": [pseudonym], "pseudonym": pseudonym, "moment": now}
    with contextlib.chdir(folder):
        exec(compile(block, page.name, "exec"), names)
    if "api" in names:
        names["api"].shutdown()
    return names


def test_services_ask_for_parameters_that_the_model_has():
    packed = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "models").rglob("*.py"))
    for page in PAGES:
        for names in re.findall(r"params=(\{.*?\})", page.read_text(encoding="utf-8")):
            for name in ast.literal_eval(names):
                assert f'options.get("{name}"' in packed


def test_the_event_that_logs_shows_is_clean(reader):
    (event,) = blocks(ROOT / "docs" / "logs.md", "json")
    Path("event.jsonl").write_text(event)
    words = ["ingest", "--format", "canonical", "--source", "event.jsonl", "--report", "report.json"]
    assert CliRunner().invoke(cli.app, words).exit_code == 0
    assert json.loads(Path("report.json").read_text())["rows_clean"] == 1


def test_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8")) <= 7000


def test_the_walk_through_the_architecture_leads_to_the_line_that_decides():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    steps = re.findall(r"^\d\. (.*)$", text[text.index("## A walk") :], re.MULTILINE)
    assert len(steps) == 5
    for step in steps:
        file, *functions = re.match(r"`([\w./]+)`(?:, function `(\w+)`)?", step).groups()
        source = (ROOT / file).read_text(encoding="utf-8")
        for function in filter(None, functions):
            assert f"\ndef {function}(" in source, step
        for line in re.findall(r"`([^`]*\(\w[^`]*\))`", step):
            assert line in source, step
    assert "Decision(all(check.passed" in steps[-1]


def test_the_architecture_lists_every_room_in_the_order_of_the_linter():
    text = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")
    table = text[text.index("| room | holds |") :].partition("\n\n")[0]
    rows = [re.findall(r"`(\w+)`", line.split("|")[1]) for line in table.splitlines()[2:]]
    contracts = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    (layers,) = [
        entry["layers"] for entry in contracts["contracts"] if entry.get("containers") == ["lastaisle"]
    ]
    assert [set(row) for row in rows] == [set(layer.split(" | ")) for layer in reversed(layers)]
