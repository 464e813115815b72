"""`lastaisle metrics`: the table, the chart, the report and the exit codes."""

from __future__ import annotations

import json
import re
import sys
from xml.etree import ElementTree

import matplotlib
import pytest
from matplotlib import image

from lastaisle import cli
from lastaisle.errors import ExitCode
from lastaisle.feedback.metrics import chart
from lastaisle.feedback.metrics.read import read_metrics
from lastaisle.lake import Lake

from .conftest import Row, Shop


@pytest.fixture(scope="module")
def filled(tmp_path_factory) -> Shop:
    """Ten days; two versions at the checkout, and one day with a list in the cart."""
    shop = Shop(Lake(tmp_path_factory.mktemp("home") / "lake"))
    for number in range(40):
        hour, session = 6.0 * number, f"s{number}"
        names = {"session_id": session, "recommendation_id": f"r{number}", "experiment": "demo", "arm": "a"}
        for position in range(1, 4):
            clicks = int(position == number % 4)
            shop.shown(hour, position=position, clicks=clicks, model_version=str(3 + number % 2), **names)
        if number % 3 == 0:
            shop.event(hour + 1, "order_completed", session_id=session, price=30.0, currency="EUR")
    shop.shown(100, placement="cart", session_id="c", recommendation_id="c", model_version="3")
    shop.count()
    return shop


@pytest.fixture
def call(filled, capsys, monkeypatch):
    """call(*arguments, width=): run the command over the filled lake; return exit code, output and errors."""

    def run(*arguments: str, width: int = 80, lake: str = str(filled.lake.url)) -> tuple[int, str, str]:
        monkeypatch.setenv("COLUMNS", str(width))  # a width that is set would stay for other tests
        monkeypatch.setattr(sys, "argv", ["lastaisle", "metrics", "--lake", lake, *arguments])
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            cli.main()
        printed = capsys.readouterr()
        return int(ended.value.code or 0), printed.out, printed.err

    return run


def test_without_options_the_last_seven_days_are_shown_by_placement(call):
    code, shown, _ = call()
    assert code == 0
    days = re.findall(r"2025-10-\d\d", shown)
    assert days == sorted(days)
    assert sorted(set(days)) == [f"2025-10-{day:02}" for day in range(9, 16)]
    assert "cart" in shown
    assert "2,0" not in shown


@pytest.mark.parametrize("width", [40, 60, 80, 120, 200, 320])
def test_no_line_is_wider_than_the_terminal(call, width):
    code, shown, _ = call("--by", "version,arm", width=width)
    assert code == 0
    table = [line for line in shown.splitlines() if line[:1] in "┏┃┡│└"]
    assert {len(line) for line in table} == {len(table[0])}
    assert len(table[0]) <= width
    assert "seconds" in shown, "a column that is not shown is named"
    assert ("not shown" in shown) == (width < 200)
    assert bool(re.search(r"\(\d+\.\d\d-", shown)) == (width >= 120), (
        "intervals are shown where there is room"
    )


def test_the_report_holds_all_figures(call, tmp_path):
    arguments = ("--by", "arm,version", "--every", "all", "--since", "2025-10-06", "--placement", "checkout")
    code, _, _ = call(*arguments, "--report", str(tmp_path / "report.json"))
    assert code == 0
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["by"], report["every"], report["placements"]) == (
        ["arm", "version"],
        "all",
        ["cart", "checkout"],
    )
    rows = {row["model_version"]: row for row in report["rows"]}
    assert [(row["exposures"], row["sessions"], row["experiment"]) for row in rows.values()] == [
        (60, 20, "demo")
    ] * 2
    assert rows["3"]["ctr"] == rows["3"]["clicked"] / 60
    (revenue,) = rows["3"]["revenue"]
    assert (revenue["currency"], revenue["revenue"], revenue["per_session"]) == ("EUR", 210.0, 10.5)
    assert "EUR a session" in call(*arguments, width=200)[1]
    assert "10.50" in call(*arguments, width=200)[1]


@pytest.mark.parametrize("suffix", ["png", "svg", "SVG"])
@pytest.mark.parametrize(
    "options",
    [
        [],
        ["--by", "arm,version"],
        ["--every", "all", "--by", "version"],
        ["--by", "position", "--every", "week"],
    ],
)
def test_a_chart_is_drawn_by_its_suffix(call, tmp_path, suffix, options):
    file = tmp_path / "charts" / f"chart.{suffix}"
    code, shown, _ = call(*options, "--chart", str(file))
    assert code == 0
    assert f"chart: {file}" in shown.replace("\n", "")
    if suffix == "png":
        assert image.imread(file).shape[0] > 400
    else:
        assert ElementTree.parse(file).getroot().tag.endswith("svg")


def test_a_chart_names_rates_currency_and_lines(call, tmp_path, monkeypatch):
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    assert call("--by", "version", "--chart", str(tmp_path / "chart.svg"))[0] == 0
    drawn = (tmp_path / "chart.svg").read_text()
    for text in (
        "revenue a session, EUR",
        "click-through rate",
        "95 % intervals",
        "version 3: ",
        "exposures",
    ):
        assert text in drawn, text


#: Names that a terminal, a formula of Matplotlib, a legend or an SVG file might take for something else. The
#: last two have one name if `/` parts their experiment and arm.
ODD_NAMES = (
    *(
        ("e", arm)
        for arm in ("a\u202eb", "c\x9b31m", "d\x1b[31m", "$\\frac$", "_hidden", "💥" * 9, "x" * 100)
    ),
    *(("x / y", "z"), ("x", "y / z")),
)


def test_odd_names_are_shown_in_one_line_each_and_drawn_as_they_are(call, tmp_path, monkeypatch, recwarn):
    shop = Shop(Lake(tmp_path / "lake"))
    for number, (experiment, arm) in enumerate(ODD_NAMES):
        for day in range(2):
            names = {"experiment": experiment, "arm": arm, "session_id": f"s{number}", "placement": "_p"}
            shop.shown(24.0 * day, recommendation_id=f"r{number} {day}", clicks=number % 2, **names)
    shop.count()
    monkeypatch.setitem(matplotlib.rcParams, "svg.fonttype", "none")
    for number, every in enumerate(("day", "all")):
        file = tmp_path / f"{number}.svg"
        options = ("--by", "arm", "--every", every, "--chart", str(file))
        code, shown, said = call(*options, width=300, lake=str(shop.lake.url))
        assert (code, said) == (0, "")
        rows = [line for line in shown.splitlines() if line.startswith("│")]
        assert len(rows) == len(ODD_NAMES) * (2 if every == "day" else 1)
        assert not re.search("[\u202e\x1b\x9b]", shown)
        drawn = "".join(ElementTree.parse(file).getroot().itertext())
        assert "8 of 9 groups" in drawn
        assert re.search(r"e / \$.frac\$: \d exposures", drawn)
        assert "x" * 40 not in drawn
    assert call("--by", "placement", "--chart", str(tmp_path / "p.svg"), lake=str(shop.lake.url))[0] == 0
    assert "_p: 18 exposures" in "".join(ElementTree.parse(tmp_path / "p.svg").getroot().itertext())
    assert [str(warned.message) for warned in recwarn] == []


def test_groups_of_one_name_are_lines_of_their_own(tmp_path, monkeypatch):
    shop = Shop(Lake(tmp_path / "lake"))
    for number, (experiment, arm) in enumerate(ODD_NAMES[-2:]):
        shop.shown(1, session_id=f"s{number}", experiment=experiment, arm=arm, recommendation_id=f"r{number}")
    shop.count()
    drawn: list[list[Row]] = []
    real = chart._draw_line

    def kept(axes, panel, rows, *given):
        drawn.append(rows)
        real(axes, panel, rows, *given)

    monkeypatch.setattr(chart, "_draw_line", kept)
    figures = read_metrics(shop.lake, by=("arm",))
    chart.draw(figures, tmp_path / "chart.png", by=("arm",))
    assert {tuple(row["experiment"] for row in rows) for rows in drawn} == {("x",), ("x / y",)}


def test_a_session_counts_once_for_each_placement_and_the_table_says_so(call):
    assert "counts once for each placement (cart, checkout)" in call("--by", "version")[1].replace("\n", " ")
    for options in (["--by", "version,placement"], ["--placement", "checkout"], []):
        assert "counts once" not in call(*options)[1]


def test_days_and_times_are_read_alike(call, tmp_path):
    def exposures(*options: str) -> int:
        file = tmp_path / "report.json"
        assert call("--every", "all", "--placement", "checkout", *options, "--report", str(file))[0] == 0
        return int(json.loads(file.read_text())["rows"][0]["exposures"])

    assert exposures() == 120
    assert exposures("--since", "2025-10-07", "--until", "2025-10-07") == 12, "a day counts whole"
    assert exposures("--since", "2025-10-07", "--until", "2025-10-08T00:00") == 12
    assert exposures("--since", "20251007", "--until", "20251007") == 12
    assert exposures("--since", "2025-W41-2", "--until", "2025W412") == 12
    assert call("--until", "2025-W41")[0] == ExitCode.WRONG_REQUEST, "a week is no day"
    assert exposures("--since", "2025-10-07T06:00:00", "--until", "2025-10-07T12:00") == 3
    assert exposures("--since", "2025-10-07T08:00+02:00", "--until", "2025-10-07 12:00") == 3


@pytest.mark.parametrize(
    ("options", "code", "text"),
    [
        (["--by", "colour"], ExitCode.WRONG_REQUEST, "'colour'"),
        (["--every", "month"], ExitCode.WRONG_REQUEST, "'month'"),
        (["--since", "yesterday"], ExitCode.WRONG_REQUEST, "2025-10-09T12:00"),
        (["--since", "2025-10-09", "--until", "2025-10-08"], ExitCode.WRONG_REQUEST, "is not before"),
        (["--chart", "chart.gif"], ExitCode.WRONG_REQUEST, ".png"),
        (["--since", "2026-01-01"], ExitCode.NOT_ENOUGH_DATA, "from 2025-10-06 00:00 to"),
        (["--until", "2025-01-01"], ExitCode.NOT_ENOUGH_DATA, "from 2025-10-06 00:00 to"),
        (["--placement", "home"], ExitCode.NOT_ENOUGH_DATA, "cart, checkout"),
    ],
)
def test_wrong_requests_are_refused_by_name(call, options, code, text):
    found, _, error = call(*options, width=200)
    assert (found, text in " ".join(error.split())) == (code, True), error


def test_the_first_user_is_told_which_command_fills_the_figures(call, tmp_path):
    code, _, error = call(lake=str(tmp_path / "lake"))
    assert code == ExitCode.NOT_ENOUGH_DATA
    assert "lastaisle exposures ingest" in error
    assert "lastaisle attribute" in error


def test_stale_figures_are_named(tmp_path, call):
    shop = Shop(Lake(tmp_path / "lake"))
    shop.shown(1)
    shop.count()
    assert call(lake=str(tmp_path / "lake"))[2] == ""
    shop.event(2, "item_viewed", item_id="i1")
    shop.write()
    assert "run lastaisle attribute" in call(lake=str(tmp_path / "lake"))[2]
