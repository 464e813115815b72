"""Real logs are split into days without changing a line."""

import gzip
from datetime import date

import pytest

from lastaisle.errors import SourceError
from lastaisle_airflow.local.demo.landing import days_landed, note_landed, split_by_day

LINES = [
    "SessionId\tItemId\tTime",
    "1\t10\t1396314141.7",  # 2014-04-01 01:02 UTC
    "1\t11\t1396396799",  # the last second of that day
    "broken line",
    "2\t10\t1396396800",  # the first second of the next
    "3\t12\t1396314200",  # late: the day before
]


@pytest.mark.parametrize("packed", [False, True])
def test_lines_go_to_their_day_unchanged(tmp_path, packed):
    text = "\n".join(LINES) + "\n"
    source = tmp_path / ("clicks.tsv.gz" if packed else "clicks.tsv")
    source.write_bytes(gzip.compress(text.encode()) if packed else text.encode())
    landing = tmp_path / "landing"

    days = split_by_day(str(source), "yoochoose", landing)

    assert days == [date(2014, 4, 1), date(2014, 4, 2)]
    first = (landing / "2014-04-01" / "part-0.tsv").read_text().splitlines()
    second = (landing / "2014-04-02" / "part-0.tsv").read_text().splitlines()
    assert first == [LINES[0], LINES[1], LINES[2], LINES[3], LINES[5]]
    assert second == [LINES[0], LINES[4]]


def test_lines_before_the_first_time_go_to_its_day(tmp_path):
    source = tmp_path / "clicks.tsv"
    source.write_text("garbage\n" + LINES[1] + "\n")
    split_by_day(str(source), "yoochoose", tmp_path / "landing")
    assert (tmp_path / "landing/2014-04-01/part-0.tsv").read_text().splitlines() == ["garbage", LINES[1]]


def test_logs_without_any_time_are_refused(tmp_path):
    source = tmp_path / "clicks.tsv"
    source.write_text("garbage\n")
    with pytest.raises(SourceError, match=r"no line of .*clicks\.tsv"):
        split_by_day(str(source), "yoochoose", tmp_path / "landing")


def test_other_logs_in_the_landing_folder_are_named(tmp_path):
    assert days_landed(tmp_path, "a.tsv", "yoochoose") is None
    note_landed(tmp_path, "a.tsv", "yoochoose", [date(2014, 4, 1)])
    assert days_landed(tmp_path, "a.tsv", "yoochoose") == [date(2014, 4, 1)]
    with pytest.raises(SourceError, match=r"holds the logs of a\.tsv"):
        days_landed(tmp_path, "b.tsv", "yoochoose")
