"""A run of attribution that is killed at any commit is run again, and the tables are the same."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
from datetime import timedelta

import pytest

from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake import Lake
from lastaisle.lake.tables import OUTCOMES, UNATTRIBUTED
from lastaisle.settings import Settings

from .shop import NOON, event, feedback, put

# Attributes; dies by SIGKILL right before or right after its n-th commit.
SCRIPT = """
import os, signal, sys
from lastaisle.feedback.outcomes.attribute import attribute
from lastaisle.lake import Lake
from lastaisle.settings import Settings

folder, when, number = sys.argv[1:]
commits = 0

def deadly(method):
    real = getattr(Lake, method)

    def counted(*given, **options):
        global commits
        commits += 1
        if when == "before" and commits == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        result = real(*given, **options)
        if when == "after" and commits == int(number):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(Lake, method, counted)

deadly("append")
deadly("replace_days")
attribute(Lake(folder), Settings.of())
"""
FIRST = (
    *(
        feedback("shown", item, -60 * 24 * day, recommendation_id=f"list {day}")
        for item in "ab"
        for day in (0, 1)
    ),
    *(feedback("clicked", "a", 1, recommendation_id="list 0"), feedback("clicked", "z", 1)),
    *(event("item_viewed", "a", 1), event("order_completed", "b", 2, price=0.1, currency="EUR")),
)
SECOND = (
    *(
        feedback("shown", "z", 0),
        feedback("clicked", "y", 3),
        feedback("shown", "a", NOON + timedelta(days=3)),
    ),
    *(event("item_viewed", "b", -60 * 24), event("order_completed", "b", 2, price=0.2, currency="EUR")),
)


def state(lake):
    """Return the rows of the tables, in one order."""
    return {name: sorted(map(str, lake.scan(name).to_pylist())) for name in (OUTCOMES, UNATTRIBUTED)}


def killed(lake, when, number):
    arguments = [sys.executable, "-c", SCRIPT, str(lake.url), when, str(number)]
    process = subprocess.run(arguments, capture_output=True, check=False, text=True)
    assert process.returncode == -signal.SIGKILL, process.stderr


@pytest.mark.service
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2, 3, 4])
def test_kill_9_at_any_commit_of_the_first_run(tmp_path, when, number):
    disturbed, calm = Lake(tmp_path / "disturbed"), Lake(tmp_path / "calm")
    put(disturbed, *FIRST)
    shutil.copytree(disturbed.url, calm.url)
    attribute(calm, Settings.of())
    killed(disturbed, when, number)
    attribute(disturbed, Settings.of())
    assert state(disturbed) == state(calm)
    assert attribute(disturbed, Settings.of()).days == []


@pytest.mark.service
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("number", [1, 2])
def test_kill_9_at_any_commit_of_a_later_run(tmp_path, when, number):
    disturbed, calm = Lake(tmp_path / "disturbed"), Lake(tmp_path / "calm")
    put(disturbed, *FIRST)
    attribute(disturbed, Settings.of())
    put(disturbed, *SECOND)
    shutil.copytree(disturbed.url, calm.url)
    attribute(calm, Settings.of())
    killed(disturbed, when, number)
    assert state(disturbed) != state(calm) or (when, number) == ("after", 2)
    attribute(disturbed, Settings.of())
    assert state(disturbed) == state(calm)
    assert attribute(disturbed, Settings.of()).days == []
