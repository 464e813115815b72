"""No command ends in a traceback, whatever a user gives it."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
import uvicorn

from lastaisle import cli
from lastaisle.errors import ExitCode

GROUP = typer.main.get_command(cli.app)
EVENT = {
    "event_id": "e1",
    "event_type": "item_viewed",
    "occurred_at": "2025-10-09T12:00:00Z",
    "user_id": "u",
    "item_id": "i",
}
#: Texts that people type by mistake or by malice. None of them is a place with many files, or a count.
_MARKS = [
    "",
    " ",
    "\t",
    "\n",
    "None",
    "null",
    "true",
    "[]",
    "{}",
    "{",
    '"',
    "'",
    "`",
    "\\",
    "\\N",
    "%s",
    "%25",
]
_NUMBERS = [
    "-1",
    "-0",
    "0",
    "+0",
    "1.5",
    "-1.5",
    "1e999",
    "-1e999",
    "nan",
    "inf",
    "-inf",
    "0x10",
    "\uff11",
    "\u0663",
]
_NUMBERS += ["1,5", "1 0", "-99999999999999999999", "0." + "1" * 400]
_TIMES = ["0000-00-00", "0001-01-01", "2025-13-01", "2025-02-30", "9999-12-31", "9999-12-31T23:59:59+14:00"]
_TIMES += ["10000-01-01", "2025-10-09T25:00:00", "yesterday", "2025-10-09T12:00:00+99:00"]
# Tests may run as root, so no path is a file of the system that root may write.
_PATHS = [
    "/dev/null",
    "/dev/full",
    "/proc/x/y",
    "/proc/version",
    "/proc/version/x",
    "no/such/file",
    "a" * 300,
]
_PATHS += ["a/" * 2000, "[", "a[1]", "a*b", "?", "~nobody/x", "{day}", "$HOME", "a\\b", "a%2Fb", "a::b"]
_URLS = ["file://x/y", "s3://", "s3:///x", "foo://x", "foo::bar", "::", "kafka://", "kafka:///", "kafka://a"]
_URLS += ["kafka://a/", "kafka://a/b,,c", "http://", "http://[", "memory://", "://", "localhost:1"]
_TEXTS = [
    "x",
    "a=b",
    "=",
    "=1",
    "a=",
    "epochs=",
    "epochs=[]",
    "epochs=nan",
    "members=",
    "a" * 10_000,
    "é",
    "日本",
]
_TEXTS += ["🛒", "\u202e", "\ufeff", "a\x07b", "\udcff", "--help-me", "-", "--", "; rm -rf x", "' OR 1=1 --"]
BAD_VALUES = [*_MARKS, *_NUMBERS, *_TIMES, *_PATHS, *_URLS, *_TEXTS]
#: For each command, arguments with which it gets as far as the value that is tried.
COMMANDS = {
    "alerts": [],
    "alerts list": [],
    "alerts check": ["--dry-run"],
    "alerts show": ["4f2a"],
    "alerts silence": ["late_data", "--reason", "a move"],
    "alerts unsilence": ["late_data"],
    "alerts history": [],
    "alerts test": [],
    "status": [],
    "tables": [],
    "privacy budget": [],
    "privacy audit": [],
    "quarantine": [],
    "ingest": ["--source", "logs.jsonl"],
    "lag": ["--source", "kafka://shop/clicks"],
    "collect": ["--to", "landing"],
    "dashboard": [],
    "export-metrics": [],
    "serve": [],
    "train": [],
    "federated join": ["127.0.0.1:9"],
    "tune": [],
    "evaluate": ["--run-id", "r1"],
    "release": ["--run-id", "r1"],
    "rollback": ["--reason", "CTR fell"],
    "reproduce": ["3"],
    "online": [],
    "maintain": [],
    "drift": ["--day", "2025-10-09"],
    "abandonment": [],
    "attribute": [],
    "metrics": [],
    "replay": ["--source", "none.txt", "--format", "sessions"],
    "simulate": ["--out", "logs", "--days", "1", "--sessions-per-day", "1", "--items", "50"],
    "bandits show": ["lists"],
    "bandits update": ["lists"],
    "bandits replay": ["lists"],
    "bandits evaluate": ["lists"],
    "benchmark accuracy": ["--train", "none.txt", "--test", "none.txt"],
    "catalogue ingest": ["items.jsonl"],
    "catalogue show": [],
    "experiments plan": ["demo.yaml"],
    "experiments apply": ["demo.yaml"],
    "experiments list": [],
    "experiments stop": ["demo", "--reason", "CTR fell"],
    "experiments analyze": [],
    "experiments show": ["demo"],
    "exposures ingest": ["shown.jsonl"],
    "exposures show": [],
    "releases": [],
    "releases at": ["2025-10-09"],
    "releases why": ["3"],
    "releases public-text": [],
    "releases prune": [],
    "releases sync": [],
    "releases verify": [],
    "releases watch": [],
    "releases retire": ["3", "--reason", "errors"],
    "releases announce": [],
    "keys show": [],
    "keys rotate": [],
    "subjects export": ["--user-id-file", "none.txt"],
    "subjects erase": ["--user-id-file", "none.txt"],
    "subjects restrict": ["--user-id-file", "none.txt"],
    "subjects object": ["--user-id-file", "none.txt"],
    "subjects list": [],
    "subjects show": ["0123456789abcdef"],
    "subjects resume": ["0123456789abcdef"],
    "subjects reapply": [],
    "subjects refuse": ["0123456789abcdef", "--reason", "nobody proved the identity"],
    "subjects verify": ["receipt.json"],
    "contracts diff": ["events", "events"],
    "contracts check": ["events"],
    "rules check": ["none.yaml"],
}


def leaves(command: object, name: str = "") -> Iterator[str]:
    children = getattr(command, "commands", None)
    if children is None or getattr(command, "invoke_without_command", False):
        yield name
    if children is None:
        return
    for child, inner in children.items():
        yield from leaves(inner, f"{name} {child}".strip())


def options_of(path: str) -> list[str]:
    """Return the options of a command that take a value, and "" if it takes arguments."""
    command = GROUP
    for name in path.split():
        command = command.commands[name]
    named = [option.opts[0] for option in command.params if option.param_type_name == "option"]
    flags = {option.opts[0] for option in command.params if getattr(option, "is_flag", False)}
    arguments = any(option.param_type_name == "argument" for option in command.params)
    return [name for name in named if name not in flags] + [""] * arguments


def arguments_with(path: str, option: str, value: str) -> list[str]:
    given = list(COMMANDS[path])
    if not option:
        return [*path.split(), *given[1:], "--", value]
    if option in given:
        place = given.index(option)
        del given[place : place + 2]
    return [*path.split(), *given, f"{option}={value}"]


def test_every_command_is_tried():
    assert set(leaves(GROUP)) == set(COMMANDS)
    assert len(set(BAD_VALUES)) == len(BAD_VALUES) >= 100


TRIED = [pytest.param(path, marks=pytest.mark.training) if path == "replay" else path for path in COMMANDS]


@pytest.mark.parametrize("path", TRIED)
def test_a_hundred_bad_values_end_without_a_traceback(path, empty_store, tmp_path, monkeypatch, capsys):
    """Each value is tried with one of the command's options; every option is tried with many values."""
    (tmp_path / "home" / "mlflow").mkdir(parents=True)
    (tmp_path / "home" / "mlflow" / "mlflow.db").write_bytes(Path(empty_store).read_bytes())
    (tmp_path / "logs.jsonl").write_text(json.dumps(EVENT) + "\n")
    (tmp_path / "shown.jsonl").write_text('{"exposure_id": "e", "kind": "shown"}\n')
    (tmp_path / "items.jsonl").write_text('{"item_id": "i", "price": 5}\n')
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("LASTAISLE_GX_SAMPLE_ROWS", "0")
    monkeypatch.setenv("LASTAISLE_SEGMENT_WRITE_KEYS", "a-key")
    monkeypatch.setenv("LASTAISLE_SERVE_KEYS", "a-key")
    monkeypatch.setenv("LASTAISLE_WEBHOOKS", "http://127.0.0.1:9/hooks")
    monkeypatch.setenv("LASTAISLE_WEBHOOK_SECRET", f"whsec_{'A' * 32}")
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    monkeypatch.setattr("lastaisle.audit.pdf.pdf_of", lambda audit: b"%PDF")  # half a second for each
    monkeypatch.setattr(cli, "app", GROUP)  # Typer would build all commands anew at each call
    options, codes = options_of(path), set(map(int, ExitCode))
    for number, value in enumerate(BAD_VALUES):
        option = options[number % len(options)]
        arguments = arguments_with(path, option, value)
        monkeypatch.setattr(sys, "argv", ["lastaisle", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert ended.value.code in codes, arguments
        assert "Traceback" not in printed.err, arguments
        assert ended.value.code == 0 or printed.err.strip() or printed.out.strip(), arguments
        assert all(Path(device).is_char_device() for device in ("/dev/null", "/dev/full")), arguments
