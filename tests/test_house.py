"""The rules for the whole repository: the committed files, their size, and the requirements."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


def tracked() -> list[Path]:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout: install git and clone the repository to run this test")
    return [ROOT / name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def test_no_large_file_is_committed():
    assert [str(p) for p in tracked() if p.stat().st_size > 1_000_000] == []


def test_every_requirement_has_a_reason():
    lines = (ROOT / "requirements.in").read_text().splitlines()
    unexplained = [line for line in lines if line and not line.startswith("#") and " # " not in line]
    assert unexplained == []


def test_lock_holds_every_requirement_with_hashes():
    lock = (ROOT / "requirements.txt").read_text()
    for line in (ROOT / "requirements.in").read_text().splitlines():
        if line and not line.startswith("#"):
            name = line.split("#")[0].strip().split("[")[0]
            for mark in "<>=":
                name = name.split(mark)[0]
            name = re.sub(r"[-_.]+", "-", name.strip().lower())  # as the lock spells names (PEP 503)
            assert f"\n{name}==" in f"\n{lock}", f"{name!r} is not locked; run `make lock`"
    pins = [line for line in lock.splitlines() if "==" in line and not line.lstrip().startswith("#")]
    assert all(line.endswith("\\") for line in pins), "a pin without hashes"


def test_only_the_registry_talks_to_mlflows_client():
    others = [
        path
        for path in tracked()
        if path.suffix == ".py"
        and path.is_relative_to(ROOT / "plugins")
        and path.parent.name != "registry"
        and re.search(r"\b(registry|store)\.client\b", path.read_text())
    ]
    assert others == []


def test_only_the_settings_lake_is_opened_with_its_storage_options():
    opens_it = ("lastaisle/lake/opening.py", "lastaisle_airflow/runtime/stores.py")
    temporary = ("lastaisle/replay/replay.py",)  # a lake in a temporary folder, which needs no options
    others = [
        str(path)
        for path in tracked()
        if path.suffix == ".py"
        and path.is_relative_to(ROOT / "plugins")
        and not str(path).endswith((*opens_it, *temporary))
        and re.search(r"(?<!class )\bLake\(", path.read_text())
    ]
    assert others == []
