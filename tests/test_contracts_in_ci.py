"""CI compares each contract with its predecessor, and refuses a change that the version does not show."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.services.required import require_service

ROOT = Path(__file__).resolve().parent.parent
CONTRACT = "data_contracts/events.odcs.yaml"


BREAK = ("maximum: 100000}", "maximum: 10}")
_VERSION = re.search(r"^version: .*$", (ROOT / CONTRACT).read_text(encoding="utf-8"), re.MULTILINE)[0]
MAJOR = (_VERSION, "version: 99.0.0")


def git(folder: Path, *arguments: str) -> None:
    author = ("-c", "user.name=Shop", "-c", "user.email=shop@example.com")
    subprocess.run(["git", *author, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def repository(tmp_path):
    """A repository whose first commit holds a contract."""
    if not shutil.which("git"):
        require_service("git is not installed: as root, apt-get install git")
    command = tmp_path / "lastaisle"
    command.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m lastaisle.cli "$@"\n')
    command.chmod(0o755)
    folder = tmp_path / "shop"
    (folder / "data_contracts").mkdir(parents=True)
    shutil.copy(ROOT / CONTRACT, folder / CONTRACT)
    git(folder, "init", "--initial-branch=main")
    git(folder, "add", ".")
    git(folder, "commit", "-m", "Hold a contract")
    return folder


def check(folder: Path) -> tuple[int, str]:
    environment = {
        name: value for name, value in os.environ.items() if not name.startswith(("GIT_", "GITHUB_"))
    }
    environment |= {"PYTHONPATH": os.pathsep.join(sys.path), "LASTAISLE": str(folder.parent / "lastaisle")}
    ended = subprocess.run(
        [str(ROOT / ".ci" / "contracts")],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    return ended.returncode, ended.stdout + ended.stderr


def edit(folder: Path, *replacements: tuple[str, str]) -> None:
    path = folder / CONTRACT
    text = path.read_text()
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def test_the_first_commit_is_not_compared_and_the_output_says_so(repository):
    code, output = check(repository)
    assert code == 0
    assert "not compared, no earlier commit is here" in output


def test_a_shallow_clone_is_not_compared_and_the_output_says_so(repository, tmp_path):
    edit(repository, BREAK)
    git(repository, "commit", "-am", "Break it")
    clone = tmp_path / "clone"
    git(tmp_path, "clone", "--depth=1", repository.as_uri(), str(clone))
    code, output = check(clone)
    assert code == 0, output
    assert "shallow clone" in output


def test_on_main_the_commit_before_is_compared(repository):
    edit(repository, BREAK)
    git(repository, "commit", "-am", "Break it")
    code, output = check(repository)
    assert code == 1
    assert "breaking for senders: quantity_in_range" in output
    assert "need version 2.0.0" in output


def test_on_a_branch_main_is_compared_over_all_its_commits(repository):
    git(repository, "checkout", "-b", "change")
    edit(repository, BREAK)
    git(repository, "commit", "-am", "Break it")
    git(repository, "commit", "--allow-empty", "-m", "And go on")
    assert check(repository)[0] == 1
    edit(repository, MAJOR)
    git(repository, "commit", "-am", "Say so")
    code, output = check(repository)
    assert code == 0, output
    assert "99.0.0: breaking" in output


def test_a_change_that_is_not_committed_yet_counts(repository):
    git(repository, "checkout", "-b", "change")
    git(repository, "commit", "--allow-empty", "-m", "Begin")
    edit(repository, BREAK)
    assert check(repository)[0] == 1


def test_a_contract_that_cannot_be_read_fails(repository):
    git(repository, "checkout", "-b", "change")
    edit(repository, ("logicalType: number", "logicalType: money"))
    git(repository, "commit", "-am", "Spoil it")
    code, output = check(repository)
    assert code == 1
    assert "money" in output


def test_a_removed_contract_is_named(repository):
    git(repository, "rm", CONTRACT)
    git(repository, "commit", "-m", "Remove it")
    code, output = check(repository)
    assert code == 0
    assert f"{CONTRACT} was removed" in output
