"""`lastaisle experiments analyze` and `show`: what they print, the report, the chart and the exit codes."""

from __future__ import annotations

import json
import sys

import pytest
from matplotlib import image

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.experiments.analysis.chart import draw
from lastaisle.experiments.analysis.results import read_results
from lastaisle.lake import Lake

from .worlds import World, rules


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> World:
    """A running experiment with a guardrail that nobody ever touched."""
    world = World(Lake(tmp_path_factory.mktemp("home") / "lake"))
    world.start(analysis=rules(guardrails=("abandonment", "revenue_per_shopper"), minimum_effect=0.01))
    world.crowd(1200, 6, {"control": 0.2, "new": 0.2})
    world.shown("anna", 0.5, "control")
    world.shown("anna", 0.6, "new")
    world.write(8)
    return world


@pytest.fixture
def call(filled, capsys, monkeypatch):
    """call(*arguments, width=): run the command over the filled lake; return exit code, output and errors."""

    def run(*arguments: str, width: int = 80, lake: str = filled.lake.url) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(width))  # a width that is set would stay for other tests
        monkeypatch.setattr(sys, "argv", ["lastaisle", "experiments", *arguments, "--lake", lake])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_first_analyze_and_then_show(call, tmp_path):
    code, shown, _ = call("analyze", width=300)
    assert code == 0
    assert shown.startswith("demo: running. No verdict yet. conversion of new is not surely different")
    code, shown, _ = call("show", "demo", "--report", str(tmp_path / "report.json"))
    assert code == 0
    assert "conversion (primary, 95 % intervals)" in shown
    assert "abandonment (guardrail, 97.5 % intervals)" in shown
    assert "Shoppers who saw a second arm, and count in the first: 1." in shown
    assert "Revenue is in EUR." in shown
    assert max(map(len, shown.splitlines())) <= 80
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["state"] == "running"
    assert {row["metric"] for row in report["newest"]} == {"conversion", "abandonment", "revenue_per_shopper"}
    assert len(report["looks"]) == 3 * 8
    code, shown, _ = call("analyze", "demo", width=300)
    assert code == 0
    assert shown.startswith("demo: running. No verdict yet.")


@pytest.mark.parametrize("name", ["chart.png", "chart.svg"])
def test_the_chart_draws_a_band_for_each_metric_and_arm(call, filled, tmp_path, name):
    call("analyze")
    code, shown, _ = call("show", "demo", "--chart", str(tmp_path / name))
    assert code == 0
    assert "chart: " in shown
    if name.endswith("png"):
        assert image.imread(tmp_path / name).shape[:2] == (1040, 1100)
    else:
        text = (tmp_path / name).read_text()
        assert text.count("FillBetweenPolyCollection") == 3


def test_a_chart_of_the_first_hour_is_drawn(filled, call, tmp_path):
    call("analyze")
    first = read_results(filled.lake, "demo").slice(0, 3)
    draw(first, tmp_path / "first.png", minimum_effect=0.1)
    assert (tmp_path / "first.png").stat().st_size > 10_000


def test_an_ended_experiment_shows_why_it_was_ended(call, tmp_path):
    world = World(Lake(tmp_path / "lake"))
    world.start()
    world.crowd(300, 2, {"control": 0.2, "new": 0.2})
    world.write(4)
    assert call("analyze", lake=world.lake.url)[0] == 0
    world.move("stop", "stopped")
    code, shown, _ = call("show", "demo", lake=world.lake.url)
    assert code == 0
    assert "demo: stopped. a test" in shown


def test_a_name_without_results_is_refused_with_the_names_there_are(call):
    code, _, told = call("show", "\udcff")
    assert code == ExitCode.NOT_ENOUGH_DATA
    code, _, told = call("show", "deom")
    assert code == ExitCode.NOT_ENOUGH_DATA
    assert "no results of the experiment 'deom': experiments are: demo" in told
    code, _, told = call("analyze", "deom")
    assert code == ExitCode.WRONG_REQUEST
    assert "there is no experiment 'deom'" in told


def test_without_experiments_analyze_says_how_to_begin(call, tmp_path):
    code, shown, _ = call("analyze", lake=str(tmp_path / "empty"), width=200)
    assert code == 0
    assert "No experiment is running. `lastaisle experiments apply` starts" in shown


def test_an_experiment_that_cannot_be_analysed_is_named_and_fails(call, tmp_path):
    world = World(Lake(tmp_path / "lake"))
    world.start(analysis=None)
    code, shown, _ = call("analyze", lake=world.lake.url, width=200)
    assert code == ExitCode.WRONG_REQUEST
    assert "demo: running. the experiment demo has no rules of analysis" in shown
