"""What `lastaisle serve` says when it cannot start."""

from __future__ import annotations

import os
import socket
import sys

import pytest
import uvicorn

from lastaisle import cli
from lastaisle.errors import ExitCode


@pytest.fixture
def start(tmp_path, monkeypatch, capsys):
    """Run the command, without answering requests; return its exit code and its message."""
    monkeypatch.setattr(uvicorn.Server, "run", lambda *_, **__: None)
    monkeypatch.setenv("LASTAISLE_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str, **environ: str) -> tuple[int, str]:
        given = {"LASTAISLE_SERVE_KEYS": "a-key", **environ}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setattr(sys, "argv", ["lastaisle", "serve", *arguments])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        assert "Traceback" not in printed.err
        return int(ended.value.code or 0), printed.err + printed.out

    return run


def test_it_says_where_it_listens_what_it_serves_and_how_to_ask(start, tmp_path):
    code, said = start("--port", "0")
    assert code == 0
    for part in (
        "listens on http://127.0.0.1:",
        "It serves checkout-recommender@champion.",
        f"It keeps feedback in {tmp_path}/home/feedback/",
        "curl -H 'Authorization: Bearer KEY'",
        "/v1/recommendations",
    ):
        assert part in said
    assert "a-key" not in said


def test_a_taken_port_is_named(start):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        for workers in ("1", "2"):
            code, said = start("--port", str(port), "--workers", workers)
            assert code == ExitCode.WRONG_REQUEST
            assert f"port {port}: Address already in use" in said


@pytest.mark.parametrize("keys", ["", " ", ",", " , "])
def test_without_a_key_it_says_how_to_set_one(start, keys):
    code, said = start("--port", "0", LASTAISLE_SERVE_KEYS=keys)
    assert code == ExitCode.WRONG_REQUEST
    assert "LASTAISLE_SERVE_KEYS" in said
    assert "LASTAISLE_SERVE_KEY_FILE" in said


def test_a_file_of_keys_that_cannot_be_read_is_named(start, tmp_path):
    lines = tmp_path / "lines"
    lines.write_text("good\nnot a key\n")
    binary = tmp_path / "binary"
    binary.write_bytes(b"\xff\xfe")
    for file, reason in [
        (tmp_path / "none", "No such file"),
        (tmp_path, "Is a directory"),
        (lines, "line 2 should be a key without blanks"),
        (binary, "decode"),
    ]:
        code, said = start("--port", "0", LASTAISLE_SERVE_KEY_FILE=str(file))
        assert code == ExitCode.WRONG_REQUEST
        assert str(file) in said
        assert reason in said


def test_an_empty_file_of_keys_is_enough_since_it_may_get_keys(start, tmp_path):
    (tmp_path / "keys").touch()
    assert start("--port", "0", LASTAISLE_SERVE_KEYS="", LASTAISLE_SERVE_KEY_FILE="keys")[0] == 0


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_folder_without_a_model_is_named(start, tmp_path, workers):
    (tmp_path / "empty").mkdir()
    (tmp_path / "manifest").mkdir()
    (tmp_path / "manifest" / "manifest.json").write_text("{")
    for folder in ("none", "empty", "manifest"):
        code, said = start("--port", "0", "--workers", workers, "--model", folder)
        assert code == ExitCode.WRONG_REQUEST
        assert f"{folder} holds no packed model" in said


@pytest.mark.parametrize("workers", ["1", "2"])
@pytest.mark.parametrize("place", ["s3://shop/feedback", "file/below", "a*b", "kafka://shop/a,b"])
def test_a_place_that_cannot_keep_feedback_is_named(start, tmp_path, place, workers):
    (tmp_path / "file").touch()
    cluster = '{"bootstrap.servers": "127.0.0.1:1"}'
    code, said = start(
        "--port", "0", "--workers", workers, LASTAISLE_SERVE_FEEDBACK=place, LASTAISLE_KAFKA=cluster
    )
    assert code == ExitCode.WRONG_REQUEST
    assert place.partition("://")[2] in said or place in said


def test_settings_out_of_bounds_are_named(start):
    for name, value in [
        ("LASTAISLE_SERVE_QUEUE", "0"),
        ("LASTAISLE_SERVE_TIMEOUT_SECONDS", "0"),
        ("LASTAISLE_SERVE_WORKERS", "0"),
        ("LASTAISLE_SERVE_PORT", "65536"),
        ("LASTAISLE_SERVE_CORS_ORIGINS", "shop.example"),
    ]:
        code, said = start(**{name: value})
        assert code == ExitCode.WRONG_REQUEST
        assert name in said
        os.environ.pop(name)
