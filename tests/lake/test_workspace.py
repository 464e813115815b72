"""DuckDB reads and writes nothing but what it was given, and keeps its limits."""

from __future__ import annotations

import duckdb
import pyarrow as pa
import pytest

from lastaisle.lake import Lake
from lastaisle.lake.errors import LakeUnusableError
from lastaisle.lake.workspace import ALL_OPTIMIZERS, JOIN_AS_WRITTEN, open_tables, open_workspace


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT * FROM read_text('{folder}/secret')",
        "SELECT * FROM read_csv('{folder}/secret')",
        "COPY (SELECT 1) TO '{folder}/out.csv'",
        "ATTACH '{folder}/out.db'",
        "INSTALL httpfs",
        "LOAD httpfs",
        "SET enable_external_access = true",
        "SET memory_limit = '100GB'",
        "SET temp_directory = '/tmp'",
    ],
)
@pytest.mark.parametrize("opened", [open_workspace, open_tables])
def test_a_statement_reaches_no_file_and_changes_no_limit(tmp_path, opened, statement):
    (tmp_path / "secret").write_text("x")
    with opened() as connection, pytest.raises(duckdb.Error):
        connection.execute(statement.format(folder=tmp_path))


@pytest.mark.parametrize("opened", [lambda: open_workspace("60MB"), open_tables])
def test_more_data_than_memory_goes_to_a_temporary_folder(opened):
    with opened() as connection:
        limit, folder = connection.execute(
            "SELECT current_setting('memory_limit'), current_setting('temp_directory')"
        ).fetchall()[0]
        assert "lastaisle-" in folder
        assert limit in ("57.2 MiB", "1.8 GiB")
        connection.execute(JOIN_AS_WRITTEN)
        connection.execute(ALL_OPTIMIZERS)
        if limit == "57.2 MiB":
            connection.execute("CREATE TABLE t AS SELECT md5(i::VARCHAR) AS text FROM range(1500000) r(i)")
            (found,) = connection.execute("SELECT count(*) FROM (SELECT * FROM t ORDER BY text)").fetchall()
            assert found == (1_500_000,)


def test_the_workspace_of_a_lake_writes_only_into_it(tmp_path):
    with open_workspace(writes_to=str(tmp_path / "it's a lake")) as connection:
        (tmp_path / "it's a lake").mkdir()
        connection.execute(f"COPY (SELECT 1) TO '{tmp_path}/it''s a lake/a.csv'")
        with pytest.raises(duckdb.Error):
            connection.execute(f"COPY (SELECT 1) TO '{tmp_path}/a.csv'")


ROW = pa.table({"batch_id": ["x"]})


@pytest.mark.parametrize(
    "name",
    ["sp ace", "ünïcode", "h#sh", "q?m", "100%", "a%zz", "a::b", "s3:x", "it's", 'a"b', "a{b}", "a&b"],
)
def test_a_lake_works_at_a_path_with_odd_signs(tmp_path, name):
    lake = Lake(tmp_path / name)
    lake.append("batches", ROW, key="k")
    assert Lake(tmp_path / name).scan("batches").to_pylist() == [{"batch_id": "x"}]
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(
    "name", ["a%25b", "%2F", "a%20b", "x[1]", "]", "a^b", "a|b", "a\\b", "line\nend", "a\tb", "a\x7f"]
)
def test_a_path_that_delta_rs_cannot_use_is_refused_with_its_sign(tmp_path, name):
    with pytest.raises(LakeUnusableError, match="LASTAISLE_LAKE"):
        Lake(tmp_path / name / "lake")
