"""Readers of tables: one table in every format is one table, whatever the file is called, and what is no table is one clear message."""

import datetime
import gzip
import io
import json
import sqlite3
import time
from contextlib import nullcontext
from types import ModuleType
from typing import cast

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from influence.data import readers
from influence.data.read import read_table
from influence.data.readers import File, sql
from influence.data.schema import infer
from influence.data.tabular import prepare
from influence.errors import BadInput

FRAME = pd.DataFrame(
    {
        "age": [20 + place % 40 for place in range(60)],
        "wage": [None if place % 7 == 0 else place / 8 for place in range(60)],
        "job": [None if place % 5 == 0 else ["cook", "nurse, senior", "Köchin"][place % 3] for place in range(60)],
        "member": [place % 2 == 0 for place in range(60)],
        "since": pd.to_datetime([f"20{place % 20 + 10}-0{place % 9 + 1}-17" for place in range(60)]).astype("datetime64[us]"),
    }
)


def to_arrow(frame, stream=False, **options):
    table, sink = pa.Table.from_pandas(frame, preserve_index=False), io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, table.schema, options=pa.ipc.IpcWriteOptions(**options)) as writer:
        writer.write_table(table, max_chunksize=1000)
    return sink.getvalue()


def to_parquet(frame):
    sink = io.BytesIO()
    frame.to_parquet(sink)
    return sink.getvalue()


def to_excel(frame, **options):
    sink = io.BytesIO()
    frame.to_excel(sink, index=False, **options)
    return sink.getvalue()


def to_feather(frame, **options):
    sink = io.BytesIO()
    feather.write_feather(frame, sink, **options)
    return sink.getvalue()


FORMATS = {
    "csv": lambda frame: frame.to_csv(index=False).encode(),
    "utf-16 tsv": lambda frame: frame.to_csv(index=False, sep="\t").encode("utf-16"),
    "utf-16 big-endian": lambda frame: b"\xfe\xff" + frame.to_csv(index=False).encode("utf-16-be"),
    "gzip": lambda frame: gzip.compress(frame.to_csv(index=False).encode()),
    "gzipped json": lambda frame: gzip.compress(frame.to_json(orient="records", date_format="iso").encode()),
    "parquet": to_parquet,
    "feather": to_feather,
    "feather, zstd": lambda frame: to_feather(frame, compression="zstd"),
    "arrow file": to_arrow,
    "arrow stream": lambda frame: to_arrow(frame, stream=True),
    "arrow stream, lz4": lambda frame: to_arrow(frame, stream=True, compression="lz4"),
    "excel": to_excel,
    "json lines": lambda frame: frame.to_json(orient="records", lines=True, date_format="iso").encode(),
    "json array": lambda frame: frame.to_json(orient="records", indent=2, date_format="iso").encode(),
}


def write(folder, content, name="t"):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


@pytest.mark.parametrize("form", FORMATS)
def test_a_table_is_the_same_in_every_format(tmp_path, form):
    read = read_table(write(tmp_path, FORMATS[form](FRAME)))
    if "json" in form:  # JSON has no dates: they are text, and the column is found to hold dates
        assert {column.name: column.kind for column in infer(read)}["since"] == "date"
        read["since"] = pd.to_datetime(read["since"], utc=True).dt.tz_localize(None).astype("datetime64[us]")
    pd.testing.assert_frame_equal(read, FRAME)


@pytest.mark.parametrize("form", FORMATS)
def test_one_reader_recognises_it(form):
    content = FORMATS[form](FRAME)
    head = File("t", len(content), io.BytesIO(content)).head
    assert len([reader for reader in readers.readers() if reader.recognises(head)]) == 1


@pytest.mark.parametrize("form", FORMATS)
def test_the_first_rows_are_those_of_the_whole(tmp_path, form):
    frame = pd.concat([FRAME] * 50, ignore_index=True)
    path = write(tmp_path, FORMATS[form](frame.head(300) if form == "excel" else frame))
    pd.testing.assert_frame_equal(read_table(path, rows=60), read_table(path).head(60))
    assert len(read_table(path, rows=10**9)) == (300 if form == "excel" else 3000)


def test_every_reader_says_what_it_reads():
    """What CONTRIBUTING.md asks of a file that is added."""
    assert {cast(ModuleType, reader).__name__.rpartition(".")[2] for reader in readers.readers()} == {
        "arrow",
        "delimited",
        "excel",
        "gzipped",
        "jsonl",
        "parquet",
        "sqlite",
    }
    for reader in readers.readers():
        assert reader.WHAT.startswith(("a ", "an "))
        assert all(suffix == "" or suffix.startswith(".") for suffix in reader.SUFFIXES)
    assert {".csv", ".parquet", ".feather", ".xlsx", ".jsonl", ".gz"} <= set(readers.suffixes())


# --- delimited


@pytest.mark.slow
def test_thousands_of_columns_are_read_in_seconds(tmp_path):
    rng = np.random.default_rng(0)
    names = [f"column_{place}" for place in range(5000)]
    frame = pd.DataFrame(rng.integers(0, 100, (100, 5000)), columns=names)
    path = write(tmp_path, frame.to_csv(index=False))
    began = time.process_time()
    read = read_table(path)
    found = infer(read)
    assert time.process_time() - began < 10
    pd.testing.assert_frame_equal(read, frame)
    assert {column.kind for column in found} == {"numeric"}


@pytest.mark.parametrize("end", ["\n", "\r\n", ""])
def test_ten_million_columns_are_refused_at_once(tmp_path, end):
    path = write(tmp_path, ",".join(["c"] * 10_000_000) + end + "1," * 100)
    began = time.process_time()
    with pytest.raises(BadInput, match=r"at most 20,000 columns"):
        read_table(path)
    assert time.process_time() - began < 2


@pytest.mark.parametrize("content", [",".join(f"c{i}" for i in range(20_001)) + "\n1", "a," * 400_000 + "b\n"])
def test_too_many_columns_are_counted(tmp_path, content):
    with pytest.raises(BadInput, match=r"columns; at most 20,000 are read"):
        read_table(write(tmp_path, content))


def test_too_many_cells_are_refused_before_they_are_parsed(tmp_path, monkeypatch):
    monkeypatch.setattr(readers, "MOST_CELLS", 1000)
    path = write(tmp_path, "a,b\n" + "1,2\n" * 501)
    with pytest.raises(BadInput, match=r"1,00\d cells; at most 1,000"):
        read_table(path)
    assert len(read_table(write(tmp_path, "a,b\n" + "1,2\n" * 498))) == 498


# --- gzip


def test_a_gzip_bomb_is_stopped_on_the_way(tmp_path, monkeypatch):
    from influence.data.readers import gzipped

    monkeypatch.setattr(gzipped, "MOST_UNPACKED", 20_000_000)
    path = write(tmp_path, gzip.compress(b"a,b\n" + bytes(200_000_000)), "t.csv.gz")
    with pytest.raises(BadInput, match=r"'t\.csv\.gz' unpacks to more than 20 MB"):
        read_table(path)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(gzip.compress(b"a,b\n1,2\n")), "a gzip file in a gzip file"),
        (gzip.compress(b"a,b\n1,2\n")[:-9], "damaged and can't be read as gzip"),
        (gzip.compress(b""), "is empty"),
        (gzip.compress(b"\x89PNG"), "is an image"),
    ],
    ids=["twice", "cut", "empty", "image"],  # content holds the time: workers would see other tests
)
def test_what_is_in_a_gzip_file_is_looked_at(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        read_table(write(tmp_path, content, "t.csv.gz"))


# --- parquet and arrow


TYPES = pa.table(
    {
        "decimal": pa.array([1, 2, None] * 10, pa.decimal128(10, 2)),
        "half": pa.array(np.array([1, 2, 3] * 10, dtype=np.float16)),
        "unsigned": pa.array([1, 2, 3] * 10, pa.uint8()),
        "words": pa.array(["x", None, "y"] * 10).dictionary_encode(),
        "bytes": pa.array([b"x", None, "ß".encode()] * 10),
        "day": pa.array([datetime.date(2020, 1, 2), None, datetime.date(1, 1, 1)] * 10),
        "truth": pa.array([True, None, False] * 10),
        "nothing": pa.nulls(30),
        "large": pa.array(["x", "", "y"] * 10, pa.large_string()),
        "view": pa.array(["x", "", "y"] * 10, pa.string_view()),
    }
)


@pytest.mark.parametrize("stream", [False, True])
def test_arrow_types_become_plain(tmp_path, stream):
    sink = io.BytesIO()
    with (pa.ipc.new_stream if stream else pa.ipc.new_file)(sink, TYPES.schema) as writer:
        writer.write_table(TYPES)
    read = read_table(write(tmp_path, sink.getvalue())).head(3)
    expected = pd.DataFrame(
        {
            "decimal": [1.0, 2.0, np.nan],
            "half": [1.0, 2.0, 3.0],
            "unsigned": [1, 2, 3],
            "words": ["x", None, "y"],
            "bytes": ["x", None, "ß"],
            "day": pd.array(np.array(["2020-01-02", "NaT", "0001-01-01"], dtype="datetime64[us]")),
            "truth": ["True", None, "False"],
            "nothing": [np.nan] * 3,
            "large": ["x", None, "y"],
            "view": ["x", None, "y"],
        }
    )
    pd.testing.assert_frame_equal(read, expected)


def test_parquet_types_become_the_same(tmp_path):
    own = TYPES.drop_columns(["view", "nothing"])
    sink = io.BytesIO()
    pq.write_table(own, sink)
    stream = io.BytesIO()
    with pa.ipc.new_stream(stream, own.schema) as writer:
        writer.write_table(own)
    pd.testing.assert_frame_equal(read_table(write(tmp_path, sink.getvalue())), read_table(write(tmp_path, stream.getvalue(), "u")))


def test_dots_in_names_are_names(tmp_path):
    frame = pd.DataFrame({"a": [1, 2], "a.b": ["x", "y"], "a.b.c": [3.5, 4.5]})
    pd.testing.assert_frame_equal(read_table(write(tmp_path, to_parquet(frame))), frame)


@pytest.mark.parametrize("kind", [pa.list_(pa.int64()), pa.struct([("x", pa.int64())]), pa.map_(pa.string(), pa.int64())])
@pytest.mark.parametrize("parquet", [True, False])
def test_cells_of_several_values_are_refused_with_their_column(tmp_path, kind, parquet):
    cell = {pa.types.is_list: [1], pa.types.is_struct: {"x": 1}, pa.types.is_map: [("k", 1)]}
    table = pa.table({"a": range(30), "parts": pa.array([next(v for is_, v in cell.items() if is_(kind))] * 30, kind)})
    sink = io.BytesIO()
    if parquet:
        pq.write_table(table, sink)
    else:
        with pa.ipc.new_stream(sink, table.schema) as writer:
            writer.write_table(table)
    with pytest.raises(BadInput, match=r"'parts' of 't' holds (list|struct|map)"):
        read_table(write(tmp_path, sink.getvalue()))


def test_binary_cells_are_refused_with_their_column(tmp_path):
    with pytest.raises(BadInput, match="'photo' of 't' holds binary data"):
        read_table(write(tmp_path, to_parquet(pd.DataFrame({"a": [1], "photo": [b"\xff\xd8\xff"]}))))


# --- excel


def book(**sheets):
    made = openpyxl.Workbook()
    made.remove(made.active)
    for title, rows in sheets.items():
        sheet = made.create_sheet(title)
        for row in rows:
            sheet.append(row)
    sink = io.BytesIO()
    made.save(sink)
    return sink.getvalue()


def test_a_sheet_is_chosen_by_name(tmp_path):
    path = write(tmp_path, book(Main=[["a"], [1], [2]], Other=[["b"], ["x"]]), "t.xlsx")
    first = read_table(path)
    assert first.to_dict("list") == {"a": [1, 2]}
    assert first.attrs["note"] == "Sheet 'Main' of 'Main', 'Other' was read."
    other = read_table(path, sheet="Other")
    assert other.to_dict("list") == {"b": ["x"]}
    assert "'Other' of" in other.attrs["note"]
    with pytest.raises(BadInput, match=r"no sheet 'Third'\. There are: 'Main', 'Other'"):
        read_table(path, sheet="Third")
    assert not read_table(write(tmp_path, book(Main=[["a"], [1]]), "u.xlsx")).attrs["note"]
    with pytest.raises(BadInput, match="is a CSV file and has no sheets"):
        read_table(write(tmp_path, "a,b\n1,2\n", "t.csv"), sheet="Main")


def test_the_sheet_that_was_read_is_told(tmp_path):
    rows = [["x", "y"], *([place % 7, "ab"[place % 2]] for place in range(60))]
    made = prepare(read_table(write(tmp_path, book(Main=rows, Other=[["b"], ["x"]]), "t.xlsx")), target="y")
    assert made.notes.startswith("Sheet 'Main' of 'Main', 'Other' was read.")


def test_cells_of_a_sheet_are_read_as_a_person_means_them(tmp_path):
    rows = [
        [None, None, None, None],
        ["name", None, " share ", "ok", "when", "mixed"],
        [" Ann ", None, 1.5, True, datetime.datetime(2020, 1, 2), 1],
        [None] * 6,
        ["?", None, "", False, datetime.datetime(2020, 1, 3), "x"],
        ["Bob", None, 2, True, None, None],
    ]
    read = read_table(write(tmp_path, book(S=rows)))
    expected = pd.DataFrame(
        {
            "name": ["Ann", None, "Bob"],
            "share": [1.5, np.nan, 2.0],
            "ok": [True, False, True],
            "when": pd.array(np.array(["2020-01-02", "2020-01-03", "NaT"], dtype="datetime64[us]")),
            "mixed": ["1", "x", None],
        }
    )
    pd.testing.assert_frame_equal(read, expected)


def test_a_formula_is_its_stored_value_and_missing_without_one(tmp_path):
    """openpyxl writes formulas without values, as no program computed them."""
    content = book(S=[["a", "b"], [1, "=1+1"], [2, '=WEBSERVICE("http://127.0.0.1/")'], [3, "#DIV/0!"]])
    assert read_table(write(tmp_path, content))["b"].isna().all()


@pytest.mark.parametrize(
    ("sheets", "message"),
    [
        ({"S": []}, "no header with rows"),
        ({"S": [["a", "b"]]}, "no header with rows"),
        ({"S": [["a", "a"], [1, 2]]}, "repeats 'a'"),
        ({"S": [[1, 2], [1, 2]]}, "only numbers"),
    ],
)
def test_a_sheet_without_a_table_is_refused(tmp_path, sheets, message):
    with pytest.raises(BadInput, match=message):
        read_table(write(tmp_path, book(**sheets)))


# --- json


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"a": 1}{"a": 2}', "After object 1 of 't' a new line is needed"),
        ('[{"a": 1} {"a": 2}]', "a comma or ]"),
        ('[{"a": 1},]', "a comma or ]"),
        ('[{"a": 1}', "a comma or ]"),
        ('[{"a": 1}] x', "goes on after its end"),
        ('[{"a": 1},', "breaks off before its end"),
        ('{"a": 1}\n[2]\n', "Value 2 of 't' is no JSON object"),
        ('{"a": 1, "a": 2}', "distinct names"),
        ('{"a": {"b": 1}}', "'a' of object 1 of 't' holds an object"),
        ('{"a": 1}\n{"a": [1]}', "'a' of object 2 of 't' holds a list"),
        ('{"a": NaN}', "has NaN in it"),
        ('{"a": 1}\n{"a": -Infinity}', "has -Infinity in it"),
        ("[]", "no rows"),
        ("{}\n{}", "no rows"),
        ('{"a": "\\ud800"}', "half a character"),
        (b'{"a": "\xff"}', "not UTF-8"),
        ('{"a": ' + "[" * 100_000, "no JSON object"),
        ('{"a": ' + '{"a": ' * 100_000, "no JSON object"),
        ("[" * 100_000, "no JSON object"),
        ('{"a": ' + "9" * 10_000 + "}", "no JSON object"),
    ],
)
def test_json_that_is_no_table_is_refused(tmp_path, content, message):
    with pytest.raises(BadInput, match=message):
        read_table(write(tmp_path, content))


def test_names_that_objects_lack_are_missing_cells(tmp_path):
    read = read_table(write(tmp_path, '{"a": 1}\n\n{"b": "x", "a": 2.5}\r\n{"c": true}'))
    pd.testing.assert_frame_equal(read, pd.DataFrame({"a": [1, 2.5, np.nan], "b": [None, "x", None], "c": [None, None, "True"]}))


def test_json_of_ever_new_names_is_refused(tmp_path):
    text = "\n".join(json.dumps({f"c{place}": 1}) for place in range(20_100))
    with pytest.raises(BadInput, match=r"at most 20,000 are read|cells"):
        read_table(write(tmp_path, text))


# --- sql


def test_numbers_take_memory_as_texts_do(monkeypatch):
    """Each is an object of its own until the table is made."""
    monkeypatch.setattr(readers, "MOST_BYTES", 100_000)
    for rows, refused in ((700, False), (800, True)):
        batches = iter([[(k, k / 3, None, "") for k in range(rows)], []])
        with pytest.raises(BadInput, match=r"unpacks to .* MB") if refused else nullcontext():
            assert sql.table(["a", "b", "c", "d"], lambda most, batches=batches: next(batches), "t", None).shape == (rows, 4)


@pytest.fixture
def database(tmp_path):
    path = tmp_path / "t.db"
    with sqlite3.connect(path) as connection:
        FRAME.drop(columns="since").to_sql("people", connection, index=False)
    connection.close()
    return path


def test_a_query_is_read_in_batches(database, monkeypatch):
    monkeypatch.setattr(sql, "BATCH", 7)
    read = read_table(f"sqlite:///{database}", query="SELECT age, wage, job FROM people")
    pd.testing.assert_frame_equal(read, FRAME[["age", "wage", "job"]])
    pd.testing.assert_frame_equal(read_table(f"sqlite:///{database}", query="select age from people", rows=10), FRAME[["age"]].head(10))


@pytest.mark.parametrize(
    ("query", "message"),
    [
        ("", "is no query"),
        ("DROP TABLE people", "is no query"),
        ("WITH x AS (SELECT 1) DELETE FROM people", "readonly|read-only"),
        ("SELECT * FROM peple", "no such table: peple"),
        ("SELECT age, age FROM people", "names repeat"),
        ("SELECT age FROM people WHERE age > 1000", "finds no rows"),
        ("SELECT x'ff' AS photo FROM people", "'photo' of .* holds binary data"),
    ],
)
def test_a_query_that_cannot_be_used_is_refused_and_changes_nothing(database, query, message):
    before = database.read_bytes()
    with pytest.raises(BadInput, match=message):
        read_table(f"sqlite:///{database}", query=query)
    assert database.read_bytes() == before


def test_a_database_that_is_not_there_is_not_made(tmp_path):
    with pytest.raises(BadInput, match="does not exist"):
        read_table(f"sqlite:///{tmp_path / 'absent.db'}", query="SELECT 1")
    assert not list(tmp_path.iterdir())
    for url in ("sqlite://", "sqlite:///:memory:"):
        with pytest.raises(BadInput, match="does not exist"):
            read_table(url, query="SELECT 1")


SECRETS = ["hunter2", "somebody", "s3cr3t"]


@pytest.mark.parametrize("driver", ["postgresql+psycopg", "nothing", "mysql", "postgresql+pg8000", "sqlite"])
def test_credentials_are_in_no_message(driver):
    url = f"{driver}://somebody:hunter2@127.0.0.1:1/base?password=s3cr3t"
    with pytest.raises(BadInput) as caught:
        read_table(url, query="SELECT 1")
    error = caught.value
    assert error.__cause__ is None
    assert error.__context__ is None or error.__suppress_context__
    assert not [secret for secret in SECRETS if secret in str(error)]


def test_the_place_of_a_database_is_told_without_credentials():
    url = "postgresql+psycopg://somebody:hunter2@host:5432/base?password=s3cr3t"
    assert sql.place(url) == "postgresql+psycopg://host:5432/base"
    with pytest.raises(BadInput, match=r"^The database's address can't be read. It is written driver://user:password@host/database.$"):
        sql.place("somebody:hunter2")


def test_only_a_database_can_be_asked(tmp_path):
    with pytest.raises(BadInput, match="no address of a database"):
        read_table(write(tmp_path, "a,b\n1,2\n"), query="SELECT 1")


# --- real data


@pytest.mark.slow
def test_adult_is_one_data_set_in_every_format(lethe_data, tmp_path):
    frame = read_table(lethe_data / "adult.parquet")
    choices = {"target": "income", "protected": ["sex"], "split": "split", "name": "adult"}
    expected = prepare(frame, **choices).digest
    forms = {form: FORMATS[form] for form in ("csv", "gzip", "parquet", "feather", "json lines")}
    with sqlite3.connect(tmp_path / "adult.db") as connection:
        frame.to_sql("adult", connection, index=False)
    connection.close()
    found = {form: read_table(write(tmp_path, to(frame))) for form, to in forms.items()}
    found["sql"] = read_table(f"sqlite:///{tmp_path / 'adult.db'}", query="SELECT * FROM adult")
    for form, read in found.items():
        pd.testing.assert_frame_equal(read, frame, obj=form)
        assert prepare(read, **choices).digest == expected, form


def test_adult_in_excel(lethe_data, tmp_path):
    frame = read_table(lethe_data / "adult.parquet").head(2000)
    read = read_table(write(tmp_path, to_excel(frame), "adult.xlsx"))
    pd.testing.assert_frame_equal(read, frame)
    one, two = (prepare(table, target="income", protected=["sex"], name="adult").digest for table in (read, frame))
    assert one == two
