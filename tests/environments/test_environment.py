"""An environment is made from its lock, once, and made again when the lock changed or a call was killed."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from lastaisle.environments import environment
from lastaisle.environments.environment import EnvironmentUnmadeError, python_of


@pytest.fixture
def locks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder of locks with one empty lock."""
    folder = tmp_path / "locks"
    (folder / "small").mkdir(parents=True)
    (folder / "small" / "requirements.txt").write_text("")
    monkeypatch.setattr(environment, "LOCKS", folder)
    return folder


def test_the_environment_is_made_once(locks: Path, tmp_path: Path) -> None:
    python = python_of("small", tmp_path / "made")
    said = subprocess.run(
        [python, "-c", "import sys; print(sys.prefix)"], check=True, capture_output=True, text=True
    )
    assert Path(said.stdout.strip()) == python.parents[1]
    mark = python.parents[1] / "mark"
    mark.touch()
    assert python_of("small", tmp_path / "made") == python
    assert mark.exists(), "the second call made it again"


def test_a_half_made_environment_is_made_again(locks: Path, tmp_path: Path) -> None:
    python = python_of("small", tmp_path / "made")
    (python.parents[1] / ".ready").unlink()
    python.unlink()
    assert python_of("small", tmp_path / "made").exists()


def test_a_changed_lock_has_another_environment(locks: Path, tmp_path: Path) -> None:
    before = python_of("small", tmp_path / "made")
    (locks / "small" / "requirements.txt").write_text("# changed\n")
    assert python_of("small", tmp_path / "made") != before


def test_an_unknown_name_is_refused(locks: Path, tmp_path: Path) -> None:
    with pytest.raises(EnvironmentUnmadeError, match=r"no environment 'other': .* has small"):
        python_of("other", tmp_path)


def test_a_lock_that_cannot_be_installed_is_refused(locks: Path, tmp_path: Path) -> None:
    (locks / "small" / "requirements.txt").write_text("nothing-of-this-name==1 --hash=sha256:00\n")
    with pytest.raises(EnvironmentUnmadeError, match="the environment small cannot be made"):
        python_of("small", tmp_path / "made")
