"""A count that is killed at any commit goes on without loss; two counts at once agree."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor

import pytest

from lastaisle.feedback.metrics.count import count_metrics, is_stale
from lastaisle.lake import Lake

from .conftest import Shop

# Counts; dies by SIGKILL right before or right after the first commit, or the second.
SCRIPT = """
import os, signal, sys
from lastaisle.feedback.metrics.count import count_metrics
from lastaisle.lake import Lake

lake, name, when = sys.argv[1:]
step = getattr(Lake, name)

def deadly(*given, **named):
    if when == "after":
        step(*given, **named)
    os.kill(os.getpid(), signal.SIGKILL)

setattr(Lake, name, deadly)
count_metrics(Lake(lake))
"""


def filled(folder) -> Shop:
    shop = Shop(Lake(folder))
    for number in range(6):
        shop.shown(12.0 * number, session_id=f"s{number}", recommendation_id=f"r{number}", clicks=number % 2)
        shop.event(12.0 * number + 1, "order_completed", session_id=f"s{number}", price=1.1, currency="EUR")
    shop.write()
    return shop


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["append", "replace_days"])
def test_kill_9_at_any_commit_and_a_plain_run_again(tmp_path, step, when):
    undisturbed, killed = filled(tmp_path / "undisturbed"), filled(tmp_path / "killed")
    undisturbed.count()
    arguments = [str(killed.lake.url), step, when]
    process = subprocess.run([sys.executable, "-c", SCRIPT, *arguments], capture_output=True, check=False)
    assert process.returncode == -signal.SIGKILL, process.stderr.decode()
    killed.count()
    assert killed.rows() == undisturbed.rows()
    assert not is_stale(killed.lake)
    assert count_metrics(killed.lake).days == ()


def test_two_counts_at_once_count_once(tmp_path):
    undisturbed, shop = filled(tmp_path / "undisturbed"), filled(tmp_path / "shop")
    undisturbed.count()
    with ThreadPoolExecutor(3) as pool:
        reports = list(pool.map(lambda _: count_metrics(shop.lake), range(3)))
    assert shop.rows() == undisturbed.rows()
    assert sum(bool(report.changed_days) for report in reports) == 1
