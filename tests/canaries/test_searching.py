"""The search finds a value however it is written; otherwise a clean result would say nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import sqlite3
import zipfile
from urllib.parse import quote

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from .planting import ENCODINGS, KINDS, Planter
from .searching import Search

WRITINGS = {
    "plain": str,
    "upper case": str.upper,
    "percent": lambda value: quote(value, safe=""),
    "json": lambda value: json.dumps(json.dumps({"a": value})),
    **{
        f"base64 after {before}": lambda value, before=before: base64.b64encode(
            b"x" * before + value.encode() + b"yy"
        ).decode()
        for before in range(3)
    },
    "url-safe base64": lambda value: base64.urlsafe_b64encode(value.encode()).decode(),
    **{
        kind: lambda value, kind=kind: hashlib.new(kind, value.encode()).hexdigest()
        for kind in ("md5", "sha1", "sha256")
    },
    **ENCODINGS,
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("writing", WRITINGS)
def test_a_value_is_found_in_every_writing(kind, writing):
    planter = Planter()
    values = [planter.plant(f"field {number}", kind) for number in range(300)]
    search = Search(planter.plants.values())
    text = f"before {WRITINGS[writing](values[255])} after"
    assert search.places(text.encode()) == {f"field 255 ({kind})"}
    assert search.places(b"nothing 4930 here 2001:db8:: 8f14e45fceea167a5a36dedd4bea2543") == set()
    assert search.places(b"0.04930555419019143") == set()
    assert search.places(b"share 4930555999999") == {"? 4930555999999"}


def test_a_value_is_found_in_compressed_files_and_databases(tmp_path):
    planter = Planter()
    value = planter.plant("here", "email")
    pq.write_table(pa.table({"a": [[{"b": value}]]}), tmp_path / "a.parquet", compression="zstd")
    (tmp_path / "a.gz").write_bytes(gzip.compress(value.encode()))
    with zipfile.ZipFile(tmp_path / "a.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a", value * 9)
    with sqlite3.connect(tmp_path / "a.db") as database:
        database.execute("CREATE TABLE t (a TEXT)")
        database.execute("INSERT INTO t VALUES (?)", (value,))
    (tmp_path / f"{value}.txt").write_text("")
    (tmp_path / "left_out").write_text(value)
    (tmp_path / "clean").write_text("clean")
    found = Search(planter.plants.values()).in_folder(tmp_path, [tmp_path / "left_out"])
    assert set(found) == {"a.parquet", "a.gz", "a.zip", "a.db", f"{value}.txt"}
