"""A lake that cannot be read or written says so, and never counts as an empty lake."""

from __future__ import annotations

import resource
import shutil
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError

ROWS = pa.table({"batch_id": ["1"]})
#: Writes a table whose files may not grow beyond 64 KiB, as on a disk that is full.
_WRITE = """
import os, sys
import pyarrow as pa
from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError
rows = pa.table({"batch_id": [os.urandom(16).hex() for _ in range(50_000)]})
try:
    Lake(sys.argv[1]).append("batches", rows, key="2")
except LakeUnusableError as error:
    print(error)
"""


def test_a_file_in_place_of_the_lake_is_named(tmp_path):
    (tmp_path / "lake").write_text("no folder")
    lake = Lake(tmp_path / "lake")
    for act in (lambda: lake.scan("batches"), lambda: lake.append("batches", ROWS, key="1")):
        with pytest.raises(LakeUnusableError, match=r"table batches of the lake .*lake: Not a directory"):
            act()


def test_a_folder_that_cannot_be_made_is_named():
    with pytest.raises(LakeUnusableError, match=r"make table batches of the lake /proc/nope: .*Check that"):
        Lake("/proc/nope").append("batches", ROWS, key="1")


def test_a_table_without_its_log_is_no_missing_table(tmp_path):
    lake = Lake(tmp_path)
    lake.append("batches", ROWS, key="1")
    shutil.rmtree(tmp_path / "batches" / "_delta_log")
    with pytest.raises(LakeUnusableError, match=r"its folder holds .* and no _delta_log"):
        lake.version("batches")


def test_a_missing_data_file_is_named(tmp_path):
    lake = Lake(tmp_path)
    lake.append("batches", ROWS, key="1")
    for file in (tmp_path / "batches").glob("*.parquet"):
        file.unlink()
    with pytest.raises(LakeUnusableError, match="cannot read table batches"):
        lake.scan("batches")


def test_a_table_that_was_never_written_is_no_error(tmp_path):
    assert Lake(tmp_path).version("batches") is None
    (tmp_path / "batches").mkdir()  # another writer is about to make the table
    assert Lake(tmp_path).version("batches") is None


@pytest.mark.parametrize("url", ["foo://x", "s3://", "s3://a b/c", "kafka://shop/clicks", "http://host/lake"])
def test_a_url_of_another_kind_is_refused_at_once(url):
    with pytest.raises(LakeUnusableError, match="a folder, or a bucket such as s3://shop/lake"):
        Lake(url)


def test_a_full_disk_loses_nothing_and_says_what_to_do(tmp_path):
    lake = Lake(tmp_path)
    lake.append("batches", ROWS, key="1")
    ended = subprocess.run(
        [sys.executable, "-c", _WRITE, str(tmp_path)],
        capture_output=True,
        text=True,
        check=True,
        cwd=Path(__file__).parents[2],
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (65_536, 65_536)),
    )
    assert "cannot write table batches" in ended.stdout, ended
    assert "the disk has room" in ended.stdout
    assert lake.scan("batches").to_pylist() == [{"batch_id": "1"}]
    lake.append("batches", ROWS, key="2")
    assert len(lake.scan("batches")) == 2
