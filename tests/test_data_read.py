"""Reading tables: what is read is what was written, and every bad file gives one clear message."""

import io
import os
import pickle
import zipfile

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from influence.data.read import allowed_path, data_roots, read_table, size_limit
from influence.data.readers._cells import MISSING
from influence.data.readers.delimited import parse
from influence.data.schema import infer, names_of, plain
from influence.errors import BadInput

GOOD = "age,job,paid\n" + "".join(f"{20 + i},{'cook' if i % 2 else 'nurse, senior'!r},{i / 2}\n".replace("'", '"') for i in range(30))


def write(folder, name, content):
    path = folder / name
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


class Explosive:
    """Unpickling this would leave a file behind."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


def zipped():
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("a.csv", GOOD)
    return buffer.getvalue()


def parquet_bytes(frame):
    buffer = io.BytesIO()
    frame.to_parquet(buffer)
    return buffer.getvalue()


PARQUET = parquet_bytes(pd.DataFrame({"a": range(30), "b": list("xyz") * 10}))

BAD_FILES = {
    "empty": ("t.csv", b"", "is empty"),
    "only blanks": ("t.csv", b"\xef\xbb\xbf \n\n\r\n", "is empty"),
    "header only": ("t.csv", "a,b,c\n", "no rows"),
    "numbers as header": ("t.csv", "1,2.5,3\n" * 30, "holds only numbers"),
    "no header": ("t.csv", "39,private,40\n" + "38,public,40\n39,private,41\n" * 20, "looks like data"),
    "too many cells": ("t.csv", "a,b\n1,2\n3,4\n5,6,7\n8,9\n", "Line 4 of 't.csv' has 3 cells; the header has 2"),
    "too few cells": ("t.csv", 'a,b\n1,2\n\n3,"x\ny"\n5\n8,9\n', "Line 6 of 't.csv' has 1 cells"),
    "repeated name": ("t.csv", "a,b,a\n1,2,3\n", "repeats 'a'"),
    "open quote": ("t.csv", 'a,b\n1,2\n3,"x\n4,5\n6,7\n', "never closed"),
    "pickle": ("t.csv", pickle.dumps({"a": [1, 2]}), "a Python pickle"),
    "old pickle": ("t.csv", pickle.dumps({"a": [1, 2]}, protocol=0), "a Python pickle"),
    "zip": ("t.csv", zipped(), "zip archive"),
    "excel": ("t.xlsx", zipped(), "zip archive"),
    "gzip": ("t.csv", b"\x1f\x8b\x08\0" + bytes(50), "gzip"),
    "numpy": ("t.npy", b"\x93NUMPY\x01\0" + bytes(50), "NumPy array"),
    "binary": ("t.csv", np.random.default_rng(0).bytes(4000), "binary data"),
    "zero byte": ("t.csv", b"a,b\n1,\0\n", "binary data"),
    "half of utf-16": ("t.csv", GOOD.encode("utf-16")[:-1], "begins as UTF-16"),
    "utf-32": ("t.csv", GOOD.encode("utf-32"), "UTF-32"),
    "json of lists": ("t.json", '{"a": [1, 2]}', "single values"),
    "web page": ("t.txt", "<html><body>404, not found</body></html>\n" * 3, "not a table of a kind"),
    "unknown extension": ("t.py", GOOD, "not a table of a kind"),
    "text named parquet": ("t.parquet", GOOD, "does not begin as a Parquet file"),
    "cut parquet": ("t.parquet", PARQUET[: len(PARQUET) // 2], "damaged"),
    "parquet without rows": ("t.parquet", parquet_bytes(pd.DataFrame({"a": []})), "no rows"),
}


@pytest.mark.parametrize("case", BAD_FILES)
def test_a_bad_file_gives_one_clear_message(tmp_path, case):
    name, content, message = BAD_FILES[case]
    with pytest.raises(BadInput) as caught:
        read_table(write(tmp_path, name, content))
    text = str(caught.value)
    assert message in text
    assert name in text
    assert text.endswith(".")
    assert "\n" not in text


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_is_never_executed(tmp_path, protocol):
    trace = tmp_path / "executed"
    path = write(tmp_path, "t.csv", pickle.dumps(Explosive(trace), protocol=protocol))
    with pytest.raises(BadInput, match="a Python pickle"):
        read_table(path)
    assert not trace.exists()
    pickle.loads(path.read_bytes())
    assert trace.exists(), "the file was harmless: the test shows nothing"


def test_text_that_could_be_opcodes_is_no_pickle(tmp_path):
    """The header is an opcode and its argument, and the rows pop marks and stop."""
    read = read_table(write(tmp_path, "t.csv", "Größe|Ort|n\n" + "1.5|Köln|2\n2.|Bonn|3\n" * 20))
    assert read.columns.tolist() == ["Größe", "Ort", "n"]


def test_a_file_over_the_limit_is_refused_before_it_is_read(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    with path.open("wb") as file:
        file.truncate(300_000_000)
    monkeypatch.setattr(os, "open", lambda *rest: pytest.fail("it was opened"))
    with pytest.raises(BadInput, match=r"'t\.csv' has 300 MB; at most 200 MB"):
        read_table(path, size_limit())


def test_the_limit_is_a_setting(tmp_path, monkeypatch):
    path = write(tmp_path, "t.csv", GOOD)
    with pytest.raises(BadInput, match="are read"):
        read_table(path, max_bytes=len(GOOD) - 1)
    assert len(read_table(path, max_bytes=len(GOOD))) == 30
    monkeypatch.setenv("INFLUENCE_MAX_MB", "350")
    assert size_limit() == 350_000_000
    monkeypatch.setenv("INFLUENCE_MAX_MB", "lots")
    with pytest.raises(BadInput, match="lots"):
        size_limit()


def test_parquet_that_swells_is_refused_from_its_footer(tmp_path):
    rows = 21_000_000
    table = pa.table({f"c{i}": pa.DictionaryArray.from_arrays(pa.array(np.zeros(rows, "int8")), ["x"]) for i in range(10)})
    path = tmp_path / "t.parquet"
    pq.write_table(table, path)
    assert path.stat().st_size < 1_000_000
    with pytest.raises(BadInput, match="210,000,000 cells"):
        read_table(path)


@pytest.mark.parametrize("make", [lambda p: p / "absent.csv", lambda p: p, lambda p: p / "a\0b"])
def test_what_is_no_file_is_refused(tmp_path, make):
    with pytest.raises(BadInput, match=r"does not exist|is a folder"):
        read_table(make(tmp_path))


def test_an_unreadable_file_is_refused(tmp_path, monkeypatch):
    path = write(tmp_path, "t.csv", GOOD)

    def denied(*rest):
        raise PermissionError

    monkeypatch.setattr(os, "open", denied)
    with pytest.raises(BadInput, match="cannot be opened"):
        read_table(path)


def test_endless_devices_are_not_opened():
    with pytest.raises(BadInput, match="no ordinary file"):
        read_table("/dev/zero")


@pytest.mark.parametrize("delimiter", [",", ";", "\t", "|"])
@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "latin-1", "cp1252"])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_delimiters_and_encodings_are_found_out(tmp_path, delimiter, encoding, end):
    frame = pd.DataFrame({"Größe": [1.5, 2.5, None] * 10, "Ort": ["Köln, Süd", "Bonn; Nord", None] * 10, "n": range(30)})
    text = frame.to_csv(index=False, sep=delimiter, lineterminator=end)
    read = read_table(write(tmp_path, "t.csv", text.encode(encoding)))
    pd.testing.assert_frame_equal(read, frame)


def test_windows_characters_beyond_latin_1(tmp_path):
    read = read_table(write(tmp_path, "t.csv", "price,n\n5 €,1\n7 €,2\n".encode("cp1252")))
    assert read["price"].tolist() == ["5 €", "7 €"]


def test_cells_are_read_as_a_person_means_them(tmp_path):
    text = "name; share;count;ok\n Ann ;1,5; 3;true\nBob; 2,25;?;false\n;NA;4;true\n"
    read = read_table(write(tmp_path, "t.csv", text))
    expected = pd.DataFrame(
        {"name": ["Ann", "Bob", None], "share": [1.5, 2.25, np.nan], "count": [3, np.nan, 4], "ok": [True, False, True]}
    )
    pd.testing.assert_frame_equal(read, expected)


def test_types_come_from_all_rows(tmp_path):
    text = "a,b\n" + "1,2\n" * 50_000 + "x,2.5\n"
    read = read_table(write(tmp_path, "t.csv", text))
    assert read["a"].tolist()[-2:] == ["1", "x"]
    assert read["b"].dtype == np.float64


def test_a_single_column_is_a_table(tmp_path):
    assert read_table(write(tmp_path, "ids.csv", "id\n7\n9\n")).to_dict("list") == {"id": [7, 9]}


def test_content_decides_not_the_name(tmp_path):
    for name in ("really_parquet.csv", "really_parquet.xlsx", "really_parquet"):
        assert read_table(write(tmp_path, name, PARQUET)).shape == (30, 2)
    assert read_table(write(tmp_path, "json_lines.csv", '{"a": 1, "b": 2}\n' * 5)).to_dict("list") == {"a": [1] * 5, "b": [2] * 5}


def test_the_index_of_a_parquet_file_is_no_column(tmp_path):
    frame = pd.DataFrame({"a": [1, 2, 3]}, index=[5, 6, 7])
    path = tmp_path / "t.parquet"
    frame.to_parquet(path)
    assert read_table(path).to_dict("list") == {"a": [1, 2, 3]}


cells = st.one_of(st.none(), st.text(st.characters(codec="latin-1", categories=["L", "Po", "Zs"]), min_size=1, max_size=6))


@given(st.lists(st.tuples(cells, st.integers(-(10**9), 10**9)), min_size=3, max_size=12), st.sampled_from(",;\t|"))
@settings(max_examples=50, deadline=None)
def test_text_comes_back_as_it_was_written(rows, delimiter):
    words, numbers = zip(*rows, ("zz", 0), strict=True)
    frame = pd.DataFrame({"words": words, "number": numbers})
    read = plain(parse(frame.to_csv(index=False, sep=delimiter).encode(), "t.csv"))
    stripped = ["" if word is None else word.strip() for word in words]
    assert read["words"].fillna("").tolist() == ["" if word in MISSING else word for word in stripped]
    assert read["number"].tolist() == list(numbers)


def test_only_files_inside_allowed_folders(tmp_path, monkeypatch):
    inside, outside = tmp_path / "in", tmp_path / "out"
    inside.mkdir()
    outside.mkdir()
    good, secret = write(inside, "t.csv", GOOD), write(outside, "s.csv", GOOD)
    (inside / "link.csv").symlink_to(secret)
    (inside / "own.csv").symlink_to(good)
    monkeypatch.setenv("INFLUENCE_DATA_ROOTS", os.pathsep.join([str(tmp_path / "absent"), str(inside)]))
    roots = data_roots()
    assert len(roots) == 2
    for path in ("t.csv", good, "own.csv", "../in/t.csv"):
        assert allowed_path(path, roots) == good.resolve()
    for path in (secret, "../out/s.csv", "link.csv", "absent.csv", ".", inside, "a\0b", "", "~/t.csv", str(inside) + "2/t.csv"):
        with pytest.raises(BadInput, match="no file inside an allowed folder"):
            allowed_path(path, roots)
    monkeypatch.delenv("INFLUENCE_DATA_ROOTS")
    with pytest.raises(BadInput, match="INFLUENCE_DATA_ROOTS"):
        allowed_path(good, data_roots())


KINDS = {
    "numeric": ([1.5, 2.0, None, 4.0] * 25, "numeric"),
    "few whole numbers": ([1, 2, 3, 4] * 25, "numeric"),
    "flag": ([0, 1] * 50, "flag"),
    "truth": ([True, False] * 50, "flag"),
    "category": (["a", "b", None, "c"] * 25, "category"),
    "running": (range(100, 200), "id"),
    "customer_id": ([7 * i for i in range(100)], "id"),
    "amount": ([7 * i for i in range(100)], "numeric"),
    "codes": ([f"x{i:05d}" for i in range(100)], "id"),
    "remark": ([f"the applicant number {i} asked twice about the rate" for i in range(100)], "text"),
    "when": ([f"2020-01-{i % 28 + 1:02d}" for i in range(100)], "date"),
    "stamp": (pd.date_range("2020-01-01", periods=100), "date"),
    "constant": (["x"] * 100, "constant"),
    "one or none": (["x", None] * 50, "category"),
    "empty": ([None] * 100, "empty"),
    "text of numbers": ([str(i / 7) for i in range(98)] + ["unknown", "n.a."], "numeric"),
}


def test_kinds_of_columns():
    found = {column.name: column for column in infer(pd.DataFrame({name: values for name, (values, _) in KINDS.items()}))}
    assert {name: column.kind for name, column in found.items()} == {name: kind for name, (_, kind) in KINDS.items()}
    assert (found["numeric"].missing, found["numeric"].distinct, found["numeric"].example) == (25, 3, "1.5")
    assert found["text of numbers"].missing == 2
    assert "unknown" in found["text of numbers"].note


def test_plain_types_whatever_they_were():
    frame = pd.DataFrame(
        {
            "i": pd.array([1, 2, None], dtype="Int64"),
            "small": np.array([1, 2, 3], dtype="int8"),
            "b": pd.array([True, None, False], dtype="boolean"),
            "c": pd.Categorical(["x", "y", None]),
            "o": np.array([[1], [2, 3], None], dtype=object),
            "e": ["", "x", "y"],
            "t": pd.date_range("2020", periods=3, tz="UTC"),
        },
        index=[3, 3, 4],
    )
    made = plain(frame)
    assert made.index.tolist() == [0, 1, 2]
    types = {name: str(dtype) for name, dtype in made.dtypes.items()}
    assert types == {"i": "float64", "small": "int64", "b": "str", "c": "str", "o": "str", "e": "str", "t": "str"}
    assert made["o"].tolist()[:2] == ["[1]", "[2, 3]"]
    assert made["e"].isna().tolist() == [True, False, False]
    pd.testing.assert_frame_equal(plain(made), made)
    with pytest.raises(BadInput, match="repeat: 'a'"):
        plain(pd.DataFrame([[1, 2]], columns=["a", " a"]))


def test_names_of_numbers_have_no_needless_point():
    assert names_of(pd.Series([1.0, 2.5, None, 1.0])).astype(object).where(lambda s: s.notna(), None).tolist() == ["1", "2.5", None, "1"]
    assert names_of(pd.Series([True, False])).tolist() == ["True", "False"]


def test_cells_stay_as_they_are_written_if_asked(tmp_path):
    path = tmp_path / "ids.csv"
    path.write_text("id;share\n007; 0,50 \nNA;1e3\n", encoding="utf-8")
    table = read_table(path, as_text=True)
    assert table["id"].fillna("none").tolist() == ["007", "none"]
    assert table["share"].tolist() == ["0,50", "1e3"]
    assert read_table(path)["share"].tolist() == [0.5, 1000.0]
