"""Files made to harm: each is one clear message within little time and memory, nothing in them runs, and nothing is left behind."""

import gzip
import io
import json
import os
import pickle
import struct
import time
import tracemalloc
import zipfile

import numpy as np
import openpyxl
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from influence.data.read import allowed_path, read_table
from influence.data.readers import _workbook, excel, readers, suffixes
from influence.data.tabular import prepare
from influence.errors import BadInput

FRAME = pd.DataFrame({"age": range(30), "job": list("xyz") * 10})


def refused(folder, content, name="t", match=None):
    """Refuse it with one line that names it, and leave the folder as it was."""
    path = folder / name
    path.write_bytes(content)
    with pytest.raises(BadInput, match=match) as caught:
        read_table(path)
    text = str(caught.value)
    assert "\n" not in text
    assert text.endswith(".")
    assert len(text) < 1000
    assert [file.name for file in folder.iterdir()] == [name]
    assert path.read_bytes() == content
    path.unlink()
    return text


class Explosive:
    """Unpickling this would leave a folder behind."""

    def __init__(self, trace):
        self.trace = str(trace)

    def __reduce__(self):
        return os.mkdir, (self.trace,)


@pytest.fixture
def trace(tmp_path_factory):
    return tmp_path_factory.mktemp("elsewhere") / "executed"


# --- pickles


@pytest.mark.parametrize("suffix", ["", ".pkl", ".pickle", *sorted(set(suffixes()))])
@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
def test_a_pickle_runs_under_no_name(tmp_path, trace, suffix, protocol):
    content = pickle.dumps(Explosive(trace), protocol=protocol)
    refused(tmp_path, content, f"t{suffix}", "a Python pickle")
    refused(tmp_path, gzip.compress(content), f"t{suffix}", "a Python pickle")
    assert not trace.exists()
    pickle.loads(content)
    assert trace.exists(), "the file was harmless: the test shows nothing"


@pytest.mark.parametrize("signature", [b"PAR1", b"ARROW1\0\0", b"PK\x03\x04", b"\xff\xff\xff\xff", b"\x1f\x8b", b'{"a": ', b"a,b\n1,"])
def test_a_pickle_behind_a_signature_does_not_run(tmp_path, trace, signature):
    content = signature + pickle.dumps(Explosive(trace))
    path = tmp_path / "t"
    path.write_bytes(content)
    with pytest.raises(BadInput):
        read_table(path)
    assert not trace.exists()


# --- workbooks


CONTENT = "application/vnd.openxmlformats-officedocument.spreadsheetml.sharedStrings+xml"
SHARED = f'<Override PartName="/xl/sharedStrings.xml" ContentType="{CONTENT}"/>'
WORDS = ["age", "job", "x", "y", "z"]


def workbook(**parts):
    """A workbook with shared words, in which parts are replaced: by name with "/" as "__"; a function changes the text."""
    made, sink, changed = openpyxl.Workbook(), io.BytesIO(), io.BytesIO()
    for row in (["age", "job"], *FRAME.to_numpy().tolist()):
        made.active.append(row)
    made.save(sink)
    with zipfile.ZipFile(sink) as old:
        texts = {name: old.read(name).decode() for name in old.namelist()}
    for place, word in enumerate(WORDS):
        inline, shared = f't="inlineStr"><is><t>{word}</t></is>', f't="s"><v>{place}</v>'
        texts["xl/worksheets/sheet1.xml"] = texts["xl/worksheets/sheet1.xml"].replace(inline, shared)
    words = "".join(f"<si><t>{word}</t></si>" for word in WORDS)
    texts["xl/sharedStrings.xml"] = f'<sst xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main">{words}</sst>'
    texts["[Content_Types].xml"] = texts["[Content_Types].xml"].replace("</Types>", f"{SHARED}</Types>")
    with zipfile.ZipFile(changed, "w", zipfile.ZIP_DEFLATED) as new:
        for name, text in texts.items():
            change = next((change for part, change in parts.items() if name.endswith(part.replace("__", "/") + ".xml")), lambda text: text)
            new.writestr(name, change(text))
    return changed.getvalue()


def test_the_workbook_that_the_attacks_change_is_read(tmp_path):
    path = tmp_path / "t.xlsx"
    path.write_bytes(workbook())
    assert b"inlineStr" not in zipfile.ZipFile(path).read("xl/worksheets/sheet1.xml")
    pd.testing.assert_frame_equal(read_table(path), FRAME)


def test_a_workbook_that_says_it_swells_is_refused_unopened(tmp_path, monkeypatch):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED) as archive:
        for place in range(3):
            archive.writestr(f"xl/{place}.xml", bytes(400_000))
    monkeypatch.setattr(_workbook, "MOST_UNPACKED", 1_000_000)
    monkeypatch.setattr(zipfile.ZipFile, "open", lambda *rest, **more: pytest.fail("it was opened"))
    refused(tmp_path, sink.getvalue(), "t.xlsx", r"unpacks to 1 MB or more, and at most 1 MB")


def test_a_part_that_is_read_again_and_again_is_counted_each_time(tmp_path, monkeypatch):
    monkeypatch.setattr(_workbook, "MOST_UNPACKED", 2_000_000)
    many = "".join(f'<sheet name="s{i}" sheetId="{i + 9}" r:id="rId1"/>' for i in range(4000))
    content = workbook(xl__workbook=lambda text: text.replace("</sheets>", f"{many}</sheets>"))
    refused(tmp_path, content, "t.xlsx", "unpacks to 2 MB or more")


def test_a_false_size_is_no_way_around_the_count(tmp_path):
    content = bytearray(workbook(xl__worksheets__sheet1=lambda text: text.replace("<sheetData>", " " * 3_000_000 + "<sheetData>")))
    place = content.rfind(b"xl/worksheets/sheet1.xml") - 46
    assert content[place : place + 4] == b"PK\x01\x02"
    assert struct.unpack_from("<I", content, place + 24)[0] > 3_000_000
    struct.pack_into("<I", content, place + 24, 1000)
    refused(tmp_path, bytes(content), "t.xlsx", "damaged")


ENTITIES = {
    "external": '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/passwd">]>',
    "parameter": '<!DOCTYPE x [<!ENTITY % e SYSTEM "http://127.0.0.1:9/x.dtd"> %e;]>',
    "swelling": '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;"><!ENTITY e "&b;&b;&b;&b;&b;&b;">]>',
    "bare": '<!DOCTYPE x SYSTEM "http://127.0.0.1:9/x.dtd">',
}


@pytest.mark.parametrize("kind", ENTITIES)
@pytest.mark.parametrize("part", ["xl__worksheets__sheet1", "xl__sharedStrings", "xl__workbook", "xl__styles", "[Content_Types]"])
def test_a_document_type_is_refused_wherever_it_stands(tmp_path, kind, part):
    def change(text):
        body = text[text.find("?>") + 2 :] if text.startswith("<?xml") else text
        return ENTITIES[kind] + body.replace("<t>age</t>", "<t>&e;</t>")

    refused(tmp_path, workbook(**{part: change}), "t.xlsx", "a document type")


def test_a_document_type_in_another_encoding_is_refused(tmp_path):
    sink = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(workbook())) as old, zipfile.ZipFile(sink, "w") as new:
        for name in old.namelist():
            text = old.read(name)
            if name.endswith("sharedStrings.xml"):
                body = text.decode().partition("?>")[2] if text.startswith(b"<?xml") else text.decode()
                text = ('<?xml version="1.0" encoding="utf-16"?>' + ENTITIES["external"] + body).encode("utf-16")
            new.writestr(name, text)
    refused(tmp_path, sink.getvalue(), "t.xlsx", "a document type")


BODIES = {
    "deep": ("<x>" * 100_000, "nested more than 64 deep"),
    "broad": ("<x/>" * 300_000, "more than 200,000 of them"),
    "long tag": ('<x a="' + "a" * 3_000_000 + '"/>', "a tag longer"),
    "many attributes": ("<x " + " ".join(f'a{i}="1"' for i in range(200_000)) + "/>", "a tag longer"),
    "row beyond all": ('<row r="2000000000"><c r="A2000000000"><v>1</v></c></row>', "the most that are read of an Excel file"),
    "wide rows": ('<row><c r="XFD1"><v>1</v></c></row>' * 200, "the most that are read of an Excel file"),
    "column beyond all": ('<row r="2"><c r="AAAAAAAA2"><v>1</v></c></row>', "damaged"),
    "long number": ("<row><c><v>" + "9" * 100_000 + "</v></c></row>", "damaged"),
    "no number": ("<row><c><v>nine</v></c></row>", "damaged"),
    "no shared text": ('<row><c t="s"><v>99999</v></c></row>', "damaged"),
    "impossible date": ('<row><c t="d"><v>2020-13-77</v></c></row>', "damaged"),
    "end of file": ("<row><c>", "damaged"),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_sheet_that_swells_or_breaks_off_is_refused_in_time(tmp_path, monkeypatch, case):
    monkeypatch.setattr(_workbook, "MOST_ELEMENTS", 200_000)
    body, message = BODIES[case]
    content = workbook(xl__worksheets__sheet1=lambda text: text.replace("</sheetData>", body + "</sheetData>"))
    began = time.process_time()
    refused(tmp_path, content, "t.xlsx", message)
    assert time.process_time() - began < 20


def test_an_archive_of_countless_parts_is_refused_by_its_directory(tmp_path):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for place in range(60_000):
            archive.writestr(f"{place:050d}", b"")
    refused(tmp_path, sink.getvalue(), "t.xlsx", "more parts than a workbook")


@pytest.mark.parametrize("name", ["t.xlsx", "t.npz", "t.pt", "t.zip"])
def test_another_archive_is_told_apart(tmp_path, name):
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr("data.pkl", pickle.dumps([1]))
    refused(tmp_path, sink.getvalue(), name, "a zip archive, but no workbook")


def test_an_encrypted_part_is_refused(tmp_path):
    content = bytearray(workbook())
    for place in (content.find(b"xl/worksheets/sheet1.xml") - 30 + 6, content.rfind(b"xl/worksheets/sheet1.xml") - 46 + 8):
        content[place] |= 1
    refused(tmp_path, bytes(content), "t.xlsx", "damaged")


def test_a_sheet_of_more_cells_than_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr(excel, "MOST_CELLS", 50)
    refused(tmp_path, workbook(), "t.xlsx", "or 50 cells")


# --- parquet and arrow


def arrow(table, form, **options):
    sink = io.BytesIO()
    if form == "parquet":
        pq.write_table(table, sink)
    else:
        with (pa.ipc.new_file if form == "file" else pa.ipc.new_stream)(sink, table.schema, **options) as writer:
            writer.write_table(table)
    return sink.getvalue()


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
@pytest.mark.parametrize("name", ["arrow.py_extension_type", "pandas.period", "arrow.json", "arrow.uuid", "of.somebody"])
def test_a_type_of_somebodys_own_is_what_it_is_made_of(tmp_path, trace, form, name):
    """Old versions of Arrow unpickled what a file names arrow.py_extension_type (CVE-2023-47248)."""
    import pandas.core.arrays.arrow.extension_types  # noqa: F401 (so that pandas.period is a type that is known here)

    storage = {
        "arrow.uuid": pa.array([b"0123456789abcdef"] * 30, pa.binary(16)),
        "pandas.period": pa.array([7, 8, 9] * 10),
    }.get(name, pa.array(list("xyz") * 10))
    payload = {"pandas.period": b'{"freq": "D"}', "arrow.uuid": b""}.get(name, pickle.dumps(Explosive(trace), protocol=0))
    field = pa.field("own", storage.type, metadata={"ARROW:extension:name": name, "ARROW:extension:metadata": payload})
    path = tmp_path / "t"
    path.write_bytes(arrow(pa.table([pa.array(range(30)), storage], schema=pa.schema([pa.field("a", pa.int64()), field])), form))
    expected = {"arrow.uuid": ["0123456789abcdef"], "pandas.period": [7, 8, 9]}.get(name, list("xyz"))
    assert read_table(path)["own"].unique().tolist() == expected
    assert not trace.exists()


@pytest.mark.parametrize("form", ["parquet", "file", "stream"])
def test_what_pandas_noted_in_a_file_is_not_looked_at(tmp_path, trace, form):
    payload = pickle.dumps(Explosive(trace))
    column = {"name": "a", "pandas_type": "object", "numpy_type": "object", "metadata": {"encoding": "pickle"}, "field_name": "a"}
    for told in (payload, json.dumps({"columns": [column], "index_columns": ["a"], "column_indexes": [], "creator": {}}).encode(), b"{"):
        schema = pa.schema([pa.field("a", pa.binary() if told is payload else pa.int64()), pa.field("b", pa.int64())], {"pandas": told})
        cells = pa.array([pickle.dumps(Explosive(trace), protocol=0)] * 30) if told is payload else pa.array(range(30))
        path = tmp_path / "t"
        path.write_bytes(arrow(pa.table([cells, pa.array(range(30))], schema=schema), form))
        assert read_table(path).columns.tolist() == ["a", "b"]
    assert not trace.exists()


def test_long_words_in_many_rows_are_counted_before_they_are_written_out(tmp_path):
    words = pa.DictionaryArray.from_arrays(pa.array(np.zeros(1_000_000, "int32")), ["x" * 100_000])
    content = arrow(pa.table({"a": words}), "parquet")
    assert len(content) < 1_000_000
    refused(tmp_path, content, match=r"100,000 MB of text|unpacks to 100,000 MB")
    refused(tmp_path, arrow(pa.table({"a": words}), "stream"), match="100,000 MB of text")


@pytest.mark.parametrize("encoding", ["PLAIN", "DELTA_BYTE_ARRAY", "DELTA_LENGTH_BYTE_ARRAY", "RLE_DICTIONARY"])
@pytest.mark.parametrize("kind", [pa.string(), pa.binary()])
def test_words_are_read_in_every_encoding(tmp_path, encoding, kind):
    words = [None if place % 7 == 0 else f"wörd {place % 5}" for place in range(300)]
    cells = pa.array([word if word is None else word.encode() for word in words], pa.binary()).cast(kind)
    given = {} if encoding == "RLE_DICTIONARY" else {"use_dictionary": False, "column_encoding": {"a": encoding}}
    pq.write_table(pa.table({"a": cells, "b": range(300)}), tmp_path / "t", **given)
    read = read_table(tmp_path / "t")
    assert read["a"].astype(object).where(read["a"].notna(), None).tolist() == words


@pytest.mark.slow
@pytest.mark.parametrize("width", [None, 100_000])
def test_long_words_that_cannot_be_numbered_are_read_few_at_a_time(tmp_path, width, monkeypatch):
    """2 GB of text in a few kilobytes, by what each word has in common with the one before, or of a fixed width."""
    monkeypatch.setattr("influence.data.readers.MOST_BYTES", 200_000_000)
    monkeypatch.setattr("influence.data.readers.parquet.MOST_AT_ONCE", 20_000_000)
    asked = []
    whole = pq.ParquetFile.iter_batches
    monkeypatch.setattr(pq.ParquetFile, "iter_batches", lambda self, batch_size: asked.append(batch_size) or whole(self, batch_size))
    kind = pa.string() if width is None else pa.binary(width)
    cells = pa.array(["x" * 100_000] * 5000).cast(kind)
    given = {"use_dictionary": False, "column_encoding": {"a": "DELTA_BYTE_ARRAY"}} if width is None else {}
    with pq.ParquetWriter(tmp_path / "w", pa.schema([("a", kind)]), compression="zstd", data_page_size=1 << 30, **given) as writer:
        for _ in range(4):
            writer.write_table(pa.table({"a": cells}))
    content = (tmp_path / "w").read_bytes()
    (tmp_path / "w").unlink()
    assert len(content) < 1_000_000
    refused(tmp_path, content, match=r"MB are read")
    assert asked
    assert max(asked) <= 200


def test_arrow_buffers_that_swell_are_refused_by_what_they_say(tmp_path):
    table = pa.table({f"c{place}": pa.array(np.zeros(60_000_000, "int64")) for place in range(1)})
    packed = arrow(table, "stream", options=pa.ipc.IpcWriteOptions(compression="zstd"))
    assert len(packed) < 200_000
    size = table.nbytes
    at = packed.find(struct.pack("<q", size))
    assert at > 0
    for lie in (5_000_000_000, 2**62, -(2**62)):
        began = time.process_time()
        tracemalloc.start()
        refused(tmp_path, packed[:at] + struct.pack("<q", lie) + packed[at + 8 :], match="MB are read|damaged")
        assert tracemalloc.get_traced_memory()[1] < 100_000_000
        tracemalloc.stop()
        assert time.process_time() - began < 5


def test_rows_without_a_byte_behind_them_are_refused(tmp_path):
    refused(tmp_path, arrow(pa.table({"a": pa.nulls(300_000_000)}), "stream"), match="300,000,000 cells")


def test_places_outside_the_data_are_refused(tmp_path):
    words = pa.table({"a": pa.array(["x" * 50] * 30)})
    content = bytearray(arrow(words, "stream"))
    at = content.find(struct.pack("<iii", 0, 50, 100))
    assert at > 0
    struct.pack_into("<i", content, at + 8, 2**30)
    refused(tmp_path, bytes(content), match="damaged")
    coded = pa.table({"a": pa.array(["x", "y"] * 15).dictionary_encode()})
    content = bytearray(arrow(coded, "stream"))
    at = content.find(struct.pack("<iiii", 0, 1, 0, 1))
    assert at > 0
    struct.pack_into("<i", content, at + 4, 2**30)
    refused(tmp_path, bytes(content), match="damaged")


# --- names, cells and places


HTML = '<script>alert("x")</script>'


@pytest.mark.parametrize("suffix", [".csv", ".parquet", ".jsonl", ".xlsx", ".feather"])
def test_markup_is_text_like_any_other(tmp_path, suffix):
    frame = pd.DataFrame({HTML: [f"<b>{place}</b>" for place in range(3)] * 20, "=1+1": range(0, 300, 5), "y": ["a", "b"] * 30})
    path = tmp_path / f"t{suffix}"
    writers = {
        ".csv": lambda: frame.to_csv(path, index=False),
        ".parquet": lambda: frame.to_parquet(path),
        ".jsonl": lambda: frame.to_json(path, orient="records", lines=True),
        ".xlsx": lambda: frame.rename(columns={"=1+1": "1+1"}).to_excel(path, index=False),
        ".feather": lambda: frame.to_feather(path),
    }
    writers[suffix]()
    read = read_table(path)
    assert read.columns[0] == HTML
    assert read[HTML].tolist() == frame[HTML].tolist()
    made = prepare(read, target="y", protected=[HTML])
    assert f"{HTML} = <b>1</b>" in made.encoding["features"]


@pytest.mark.parametrize("name", ["x" * 200_000, "a\nb"])
def test_messages_stay_short_whatever_names_are(tmp_path, name):
    cells = json.dumps([{name: [1]}])
    refused(tmp_path, cells.encode(), match="holds a list")
    header = '"' + name + '","' + name + '"\n1,2\n'
    refused(tmp_path, header.encode(), match="repeats")


@pytest.mark.parametrize("make", ["fifo", "loop", "broken link", "socket", "folder", "device"])
def test_what_is_no_file_is_not_waited_for(tmp_path, make):
    path = tmp_path / "t.csv"
    {
        "fifo": lambda: os.mkfifo(path),
        "loop": lambda: (path.symlink_to(tmp_path / "u.csv"), (tmp_path / "u.csv").symlink_to(path)),
        "broken link": lambda: path.symlink_to(tmp_path / "absent"),
        "socket": lambda: os.mknod(path, 0o140600),
        "folder": path.mkdir,
        "device": lambda: path.symlink_to("/dev/zero"),
    }[make]()
    with pytest.raises(BadInput, match=r"no ordinary file|is a folder"):
        read_table(path)
    with pytest.raises(BadInput, match="no file inside an allowed folder"):
        allowed_path("t.csv", [tmp_path])


def test_a_pipe_that_takes_a_files_place_is_not_waited_for(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    os.mkfifo(path)
    monkeypatch.setattr(type(path), "is_file", lambda self: True)
    with pytest.raises(BadInput, match="no ordinary file"):
        read_table(path)


def test_every_reader_refuses_noise(tmp_path):
    noise = np.random.default_rng(0).bytes(10_000)
    for reader in readers():
        for signature in (b"PAR1", b"ARROW1\0\0", b"\xff\xff\xff\xff", b"PK\x03\x04", b"\x1f\x8b\x08", b"\xff\xfe", b"{", b"["):
            if reader.recognises(signature):
                refused(tmp_path, signature + noise)
