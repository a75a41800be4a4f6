"""Files that hold several tables: which there are, which is read, and databases that were made to harm."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings

from influence.data.read import read_table, sheets_of
from influence.errors import BadInput
from tests.test_data_fuzz import CHANGES, changed, read
from tests.test_data_readers import book

FRAME = pd.DataFrame({"age": [*range(20, 50)], "wage": np.linspace(1.5, 9, 30), "job": ["smith", None, "née"] * 10})


def database(path: Path, *statements: str, **tables: pd.DataFrame) -> Path:
    with closing(sqlite3.connect(path)) as connection, connection:
        for name, frame in tables.items():
            frame.to_sql(name, connection, index=False)
        for statement in statements:
            connection.execute(statement)
    return path


def test_the_tables_of_a_file_are_told(tmp_path):
    (tmp_path / "t.xlsx").write_bytes(book(Main=[["a"], [1]], Other=[["b"], [2]]))
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    assert sheets_of(tmp_path / "t.xlsx") == ("Main", "Other")
    assert sheets_of(database(tmp_path / "t.db", people=FRAME, jobs=FRAME[["job"]])) == ("jobs", "people")
    assert sheets_of(tmp_path / "t.csv") == ()
    with pytest.raises(BadInput, match="does not exist"):
        sheets_of(tmp_path / "absent.xlsx")


def test_the_first_sheet_that_holds_a_table_is_read(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(book(Empty=[], Cover=[["Report of 2020"]], Main=[["a"], [1], [2]], Other=[["b"], [3]]))
    found = read_table(path)
    assert found.to_dict("list") == {"a": [1, 2]}
    assert found.attrs["note"].startswith("Sheet 'Main' of 'Empty', 'Cover', 'Main'")
    with pytest.raises(BadInput, match=r"'Cover' of 't\.xlsx' holds no header with rows"):
        read_table(path, sheet="Cover")
    path.write_bytes(book(Empty=[], Cover=[["Report of 2020"]]))
    with pytest.raises(BadInput, match=r"'Empty' of 't\.xlsx' holds no header with rows"):
        read_table(path)


def test_a_table_of_a_database_is_read_by_name(tmp_path):
    path = database(tmp_path / "t.db", people=FRAME, **{'odd "name"; --': FRAME.head(4)})
    pd.testing.assert_frame_equal(read_table(path, sheet="people"), FRAME.astype({"job": "str"}))
    assert len(read_table(path)) == 4
    assert read_table(path).attrs["note"] == "Table 'odd \"name\"; --' of 'odd \"name\"; --', 'people' was read."
    pd.testing.assert_frame_equal(read_table(path, sheet="people", rows=7), FRAME.head(7).astype({"job": "str"}))
    with pytest.raises(BadInput, match=r"has no table 'nothing'. There are: "):
        read_table(path, sheet="nothing")


def test_adult_as_a_database_is_adult(tmp_path, lethe_data):
    adult = pd.read_parquet(lethe_data / "adult.parquet").head(3000)
    found = read_table(database(tmp_path / "adult.db", adult=adult))
    for name in adult:
        assert found[name].tolist() == adult[name].tolist() or found[name].isna().equals(adult[name].isna()), name
        known = adult[name].notna()
        assert found[name][known].tolist() == adult[name][known].tolist()


def test_a_database_whose_changes_lie_beside_it_is_read_as_it_is(tmp_path):
    path = database(tmp_path / "t.db", people=FRAME)
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("INSERT INTO people VALUES (1, 2, 'x')")
        connection.commit()
    assert path.read_bytes()[18:20] == b"\2\2"
    assert len(read_table(path)) in (30, 31)


def test_columns_that_are_computed_are_not_read(tmp_path):
    swelling = f"c AS ({'||'.join(['a'] * 500)})"
    made = f"CREATE TABLE t (a, b AS (hex(zeroblob(length(a) * 1000))), {swelling}, d AS (a || '!') STORED)"
    path = database(tmp_path / "t.db", made, *(f"INSERT INTO t (a) VALUES ('row {i}')" for i in range(30)))
    found = read_table(path)
    assert found.to_dict("list") == {"a": [f"row {i}" for i in range(30)], "d": [f"row {i}!" for i in range(30)]}


def test_views_and_virtual_tables_are_no_tables(tmp_path):
    path = database(tmp_path / "t.db", "CREATE VIEW v AS SELECT randomblob(1000000000)", "CREATE VIRTUAL TABLE search USING fts5(a)")
    assert not {"v", "search"} & set(sheets_of(path))
    for name in ("v", "search"):
        with pytest.raises(BadInput, match="has no table"):
            read_table(path, sheet=name)
    with pytest.raises(BadInput, match=r"has no table\. Bring a database with tables"):
        read_table(database(tmp_path / "u.db", "CREATE VIEW v AS SELECT 1"))


def test_pages_that_stand_in_many_places_are_refused(tmp_path):
    """The root of the table is made to name its first child hundreds of times: a bomb of a few bytes."""
    path = database(tmp_path / "t.db", t=pd.DataFrame({"a": ["x" * 300] * 3000}))
    assert len(read_table(path)) == 3000
    content = bytearray(path.read_bytes())
    size = int.from_bytes(content[16:18], "big")
    root = next(place for place in range(size, len(content), size) if content[place] == 5)
    first, many = content[root + 12 : root + 14], 600
    content[root + 3 : root + 5] = many.to_bytes(2, "big")
    content[root + 12 : root + 12 + 2 * many] = first * many
    path.write_bytes(content)
    with pytest.raises(BadInput, match="gives out more than lies in the file"):
        read_table(path)


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fuzz")
    return folder / "t", database(folder / "valid.db", people=FRAME, jobs=FRAME[["job"]]).read_bytes()


@given(changes=CHANGES)
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_any_change_of_a_database_is_read_or_refused(small, changes):
    path, content = small
    read(path, changed(content, changes))
