"""What others write comes in under a name that nobody can move: by commit, by hash, or by a digest."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from tests.services.required import starts_service

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github" / "workflows").glob("*.yml"))


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_actions_are_named_by_their_commits(path):
    used = re.findall(r"^\s*(?:- )?uses: *(.*)$", path.read_text(), re.MULTILINE)
    assert used
    for action in used:
        assert re.fullmatch(r"[\w.-]+/[\w./-]+@[0-9a-f]{40}  # v\d+\.\d+\.\d+", action), action


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_run_of_ci_may_only_read(path):
    workflow = yaml.safe_load(path.read_text())
    assert workflow["permissions"] == {"contents": "read"}
    assert not [job for job in workflow["jobs"].values() if "permissions" in job]


def test_ci_keeps_the_bill_of_materials_that_make_writes():
    steps = yaml.safe_load(WORKFLOWS[0].read_text())["jobs"]["check"]["steps"]
    (kept,) = [step["with"]["path"] for step in steps if "upload-artifact" in step.get("uses", "")]
    assert f"file=${{1:-{kept}}}" in (ROOT / ".ci" / "sbom").read_text()
    assert "make sbom" in [step.get("run") for step in steps]


@pytest.mark.parametrize("lock", ["requirements.txt", ".ci/sbom.txt"])
def test_every_library_is_locked_with_hashes(lock):
    lines = (ROOT / lock).read_text().splitlines()
    pins = [line for line in lines if re.match(r"[a-z0-9]\S*==", line)]
    assert pins and all(line.endswith("\\") for line in pins)


def test_the_images_of_the_build_are_one_argument():
    text = (ROOT / "docker" / "Dockerfile").read_text()
    assert set(re.findall(r"^FROM (\S+)", text, re.MULTILINE)) == {"${BASE_IMAGE}"}


@pytest.mark.service
def test_the_bill_of_materials_names_every_locked_library(tmp_path):
    starts_service("a package index")
    environment = {**os.environ, "UV": str(Path(sys.executable).with_name("uv")), "PYTHON": sys.executable}
    file = tmp_path / "bill.json"
    done = subprocess.run(
        [ROOT / ".ci" / "sbom", file], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    bill = json.loads(file.read_text())
    locked = set(
        re.findall(r"^([a-z0-9][\w.-]*)==(\S+)", (ROOT / "requirements.txt").read_text(), re.MULTILINE)
    )
    assert {(part["name"], part["version"]) for part in bill["components"]} == locked
    assert all(part["externalReferences"][0]["hashes"] for part in bill["components"])
