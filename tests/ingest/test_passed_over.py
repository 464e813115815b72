"""Every file of a source is read, or named with the reason why it is not."""

from __future__ import annotations

import json
import os
import socket
from pathlib import Path

import fsspec
import pytest

from lastaisle.errors import SourceError
from lastaisle.ingest.reading.file_names import EMPTY, HIDDEN, SYSTEM, UNFINISHED
from lastaisle.ingest.reading.files import NothingFoundError, list_files


@pytest.fixture
def logs(tmp_path) -> Path:
    folder = tmp_path / "logs"
    folder.mkdir()
    return folder


def write(folder: Path, *names: str) -> None:
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("{}\n")


def found(source: object) -> tuple[list[str], dict[str, str], dict[str, str]]:
    """Return the names of the files that are read, and those of the others with their reasons."""
    listed = list_files(str(source))
    return [Path(file.url).name for file in listed.files], listed.passed_over, listed.failed


SPARK = {
    "_temporary/0/task_1/part-1.json": ("_temporary/", HIDDEN),
    ".hive-staging/x.json": (".hive-staging/", HIDDEN),
    "__MACOSX/._part-0.json": ("__MACOSX/", HIDDEN),
    "_delta_log/00000000000000000000.json": ("_delta_log/", HIDDEN),
    ".part-0.json.crc": (".part-0.json.crc", HIDDEN),
    "day/.DS_Store": ("day/.DS_Store", HIDDEN),
    "part-2.json._COPYING_": ("part-2.json._COPYING_", UNFINISHED),
    "part-3.json.filepart": ("part-3.json.filepart", UNFINISHED),
    ".part-4.json.swp": (".part-4.json.swp", HIDDEN),
    "part-4.json.swp": ("part-4.json.swp", UNFINISHED),
    "part-5.json~": ("part-5.json~", UNFINISHED),
    "part-6.json.TMP": ("part-6.json.TMP", UNFINISHED),
    "part-7.json.part": ("part-7.json.part", UNFINISHED),
    "part-8.json.crdownload": ("part-8.json.crdownload", UNFINISHED),
    "part-9.json.inprogress": ("part-9.json.inprogress", UNFINISHED),
    "#part.json#": ("#part.json#", UNFINISHED),
    "Thumbs.db": ("Thumbs.db", SYSTEM),
    "DESKTOP.INI": ("DESKTOP.INI", SYSTEM),
    "$RECYCLE.BIN/a.json": ("$RECYCLE.BIN/", SYSTEM),
}


@pytest.mark.parametrize("place", ["{}", "{}/", "file://{}", "{}/**", "{}/*"])
def test_hidden_unfinished_and_system_files_are_named_at_any_depth(logs, place):
    write(logs, "part-0.json", "event_date=__NULL__/part-0.json", *SPARK)
    (logs / "_SUCCESS").touch()
    (logs / "empty.json").touch()
    files, passed_over, failed = found(place.format(logs))
    assert (files, failed) == (["part-0.json", "part-0.json"][: len(files)], {})
    assert len(files) == 2
    expected = dict(SPARK.values()) | {"_SUCCESS": EMPTY, "empty.json": EMPTY}
    shown = {os.path.relpath(path, logs): reason for path, reason in passed_over.items()}
    if place == "{}/*":  # what a pattern matches is named without the slash of a folder
        assert set(shown) == {name.rstrip("/") for name in expected}
    else:
        assert {
            name + "/" * path.endswith("/") for name, path in zip(shown, passed_over, strict=True)
        } == set(expected)


def test_the_same_holds_in_an_object_store(shop):
    store = fsspec.filesystem("memory")
    try:
        for name in ["part-0.json", *SPARK]:
            store.pipe(f"/passed/{name}", json.dumps(shop.event(1)).encode())
        store.pipe("/passed/_SUCCESS", b"")
        report = shop.ingest("memory://passed")
        assert (report.files, report.rows_clean) == (1, 1)
        expected = dict(SPARK.values()) | {"_SUCCESS": EMPTY}
        assert report.files_passed_over == {
            f"memory:///passed/{name}": reason for name, reason in expected.items()
        }
    finally:
        store.rm("/passed", recursive=True)


def test_a_report_names_what_was_passed_over(shop, caplog):
    (shop.folder / "logs").mkdir()
    shop.write([shop.event(1)], "logs/a.jsonl")
    shop.write([shop.event(2)], "logs/b.jsonl.tmp")
    shop.write(b"\n\n", "logs/blank.jsonl")
    report = shop.ingest(str(shop.folder / "logs"))
    names = {Path(path).name: reason for path, reason in report.files_passed_over.items()}
    assert names == {
        "b.jsonl.tmp": UNFINISHED,
        "blank.jsonl": "it holds no row, only blank lines or a header",
    }
    assert report.to_dict()["files_passed_over"] == report.files_passed_over
    assert "b.jsonl.tmp" in caplog.text
    assert "blank.jsonl gave no row" in caplog.text


def test_links_are_followed_once_and_loops_end(logs, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    write(elsewhere, "far.json", "deep/deeper.json", "_hidden.json")
    write(tmp_path, "single.json")
    write(logs, "own.json", "sub/below.json")
    for link, target in {
        "a-file.json": tmp_path / "single.json",
        "another-name.json": tmp_path / "single.json",
        "linked": elsewhere,
        "linked-again": elsewhere / "deep",
        "to-own.json": logs / "own.json",
        "to-sub": logs / "sub",
        "loop": logs,
        "above": tmp_path,
        "broken.json": tmp_path / "nothing",
        "knot": logs / "knot",
    }.items():
        (logs / link).symlink_to(target)
    (elsewhere / "back").symlink_to(logs)
    files, passed_over, _ = found(logs)
    assert sorted(files) == ["a-file.json", "below.json", "deeper.json", "far.json", "own.json"]
    reasons = {os.path.relpath(path, logs): reason for path, reason in passed_over.items()}
    assert reasons["another-name.json"].endswith("single.json, which is read anyway")
    assert reasons["to-own.json"].endswith("own.json, which is read anyway")
    assert reasons["linked-again"].endswith("deep, which is read anyway")
    assert reasons["to-sub"].endswith("sub, which is read anyway")
    for link in ("loop", "above", "linked/back"):
        assert reasons[link] == "it links to a folder that holds it"
    assert reasons["broken.json"] == "it is a symbolic link to nothing"
    assert reasons["knot"] == "it is a loop of symbolic links"
    assert reasons["linked/_hidden.json"] == HIDDEN


def test_a_link_that_is_named_itself_is_followed(shop):
    target = shop.write([shop.event(1)], "target.jsonl")
    (shop.folder / "link.jsonl").symlink_to(target)
    assert shop.ingest(str(shop.folder / "link.jsonl")).rows_clean == 1
    assert shop.ingest(str(shop.folder / "link.jsonl")).files_skipped == 1
    (shop.folder / "broken").symlink_to(shop.folder / "nothing")
    with pytest.raises(NothingFoundError, match="a symbolic link to nothing"):
        shop.ingest(str(shop.folder / "broken"))


def test_a_pipe_and_a_socket_are_named(logs):
    write(logs, "a.json")
    os.mkfifo(logs / "pipe.json")
    with socket.socket(socket.AF_UNIX) as listening:
        listening.bind(os.path.relpath(logs / "socket.json"))
        files, passed_over, _ = found(logs)
    assert files == ["a.json"]
    assert list(passed_over.values()) == ["it is a named pipe", "it is a socket"]
    with pytest.raises(NothingFoundError, match="named pipe"):
        list_files(str(logs / "pipe.json")).refuse_nothing("pipe")


def test_a_folder_that_cannot_be_listed_fails_alone(shop, monkeypatch):
    for folder in ("logs/open", "logs/closed"):
        (shop.folder / folder).mkdir(parents=True)
        shop.write([shop.event(1)], f"{folder}/a.jsonl")
    original = os.scandir

    def scandir(path):
        if str(path).endswith("/closed"):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path)

    monkeypatch.setattr(os, "scandir", scandir)
    for place in ("logs", "logs/*/*.jsonl", "logs/**/*.jsonl"):
        assert found(shop.folder / place)[0] == ["a.jsonl"]
        failed = found(shop.folder / place)[2]
        assert failed == {f"{shop.folder}/logs/closed/": "cannot list this folder: Permission denied"}
    report = shop.ingest(str(shop.folder / "logs"))
    assert (report.rows_clean, report.exit_code, list(report.files_failed)) == (1, 1, list(failed))
    with pytest.raises(SourceError, match="Permission denied"):
        list_files(str(shop.folder / "logs" / "closed"))


def test_a_file_that_a_pattern_means_and_that_may_not_be_looked_at_fails(logs, monkeypatch):
    write(logs, "open/a.json", "closed/a.json")
    original = os.lstat

    def lstat(path, **given):
        if "/closed/" in str(path):
            raise PermissionError(13, "Permission denied", str(path))
        return original(path, **given)

    monkeypatch.setattr(os, "lstat", lstat)
    files, _, failed = found(logs / "*" / "a.json")
    assert (files, failed) == (["a.json"], {f"{logs}/closed/a.json": "cannot be read: Permission denied"})


def test_a_name_that_is_no_utf_8_fails_alone(shop):
    (shop.folder / "logs").mkdir()
    shop.write([shop.event(1)], "logs/good.jsonl")
    shop.write([shop.event(2)], os.fsdecode(b"logs/caf\xe9.jsonl"))
    report = shop.ingest(str(shop.folder / "logs"))
    assert (report.files, report.rows_clean) == (1, 1)
    assert report.files_failed == {f"{shop.folder}/logs/caf\\xe9.jsonl": "its name is no UTF-8: rename it"}


ODD = [
    "data[1].jsonl",
    "a*b.jsonl",
    "what?.jsonl",
    "a::b.jsonl",
    "c::memory",
    "s3::x",
    "memory::x",
    "file:x",
    "50%",
]


@pytest.mark.parametrize("name", [*ODD, "_a.jsonl", ".b.jsonl", "c.tmp", "ün ï.jsonl", "line\nend"])
@pytest.mark.parametrize("relative", [False, True])
def test_a_file_that_is_named_itself_is_read_under_any_name(shop, monkeypatch, name, relative):
    """Also beside a file that the name would mean as a pattern or as a chain of URLs."""
    for other in ("data1.jsonl", "a", "aXb.jsonl", "whatX.jsonl", "c"):
        shop.write([shop.event(2), shop.event(3)], other)
    path = shop.write([shop.event(1)], name)
    monkeypatch.chdir(shop.folder)
    report = shop.ingest(name if relative else path)
    assert (report.rows_in, report.rows_clean) == (1, 1)
    assert [row["item_id"] for row in shop.rows("raw_events")] == ["item-1"]


@pytest.mark.parametrize("name", ODD)
def test_a_folder_with_odd_signs_is_a_folder(shop, name):
    folder = shop.folder / name
    folder.mkdir()
    for number, file in enumerate(("a.jsonl", "c", "c::memory", "x[1].jsonl")):
        shop.write([shop.event(number)], f"{name}/{file}")
    report = shop.ingest(str(folder))
    assert (report.files, report.rows_clean) == (4, 4)


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("*.json", ["a.json", "b.json"]),
        ("?.json", ["a.json", "b.json"]),
        ("[ab].json", ["a.json", "b.json"]),
        ("2025-*", ["c.json", "d.json"]),
        ("2025-*/*.json", ["c.json"]),
        ("**/*.json", ["a.json", "b.json", "c.json", "d.json"]),
        ("**", ["a.json", "b.json", "c.json", "d.json", "e.txt"]),
        ("2025-1/**/d.json", ["d.json"]),
        ("2025-?/sub/d.json", ["d.json"]),
    ],
)
def test_a_pattern_matches_files_and_folders(logs, pattern, names):
    write(logs, "a.json", "b.json", "2025-1/c.json", "2025-1/sub/d.json", "e.txt")
    assert sorted(found(logs / pattern)[0]) == names


@pytest.mark.parametrize(
    "place", ["", "*.jsonl", "nothing", "nothing/*.jsonl", "only", "only/*", "**/*.x", "empty.jsonl"]
)
def test_a_source_without_any_file_that_is_read_is_an_error(shop, place):
    logs = shop.folder / "logs"
    write(logs, "only/_a.jsonl", "only/b.jsonl.tmp")
    (logs / "empty.jsonl").touch()
    with pytest.raises(NothingFoundError, match=r"nothing to read|no such file") as error:
        shop.ingest(str(logs / place))
    if place.startswith("only"):
        assert "_a.jsonl (its name begins with a dot or an underscore)" in str(error.value)
        assert not error.value.is_missing
    if place in ("empty.jsonl", "nothing"):
        assert error.value.is_missing


def test_one_file_s_own_error_stops_no_other(shop, monkeypatch):
    """Whatever the library raises that opens or reads it."""
    from lastaisle.ingest.reading.files import SourceFile

    errors = [RecursionError("deep"), ValueError("odd"), UnicodeError("text"), KeyError("key"), EOFError()]
    for number in range(len(errors) + 1):
        shop.write([shop.event(number)], f"{number}.jsonl")
    original = SourceFile.open

    def failing(self):
        number = int(Path(self.url).stem)
        if number < len(errors):
            raise errors[number]
        return original(self)

    monkeypatch.setattr(SourceFile, "open", failing)
    report = shop.ingest(str(shop.folder / "*.jsonl"))
    assert (report.rows_clean, len(report.files_failed)) == (1, len(errors))
    assert report.files_failed[f"{shop.folder}/4.jsonl"] == f"cannot read {shop.folder}/4.jsonl: EOFError"
