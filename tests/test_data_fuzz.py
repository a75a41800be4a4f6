"""Any bytes, and any change of a valid file, give a table or one clear message from every reader, within little time."""

import io
import time

import pandas as pd
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from influence.data.read import read_table
from influence.data.schema import infer
from influence.errors import BadInput
from tests.test_data_readers import FORMATS, FRAME

SMALL = FRAME.head(12).assign(word=["x" * place for place in range(12)])
VALID = {form: to(SMALL) for form, to in FORMATS.items()}
SIGNATURES = {
    "csv": b"",
    "utf-16 tsv": b"\xff\xfe",
    "gzip": b"\x1f\x8b\x08\0",
    "parquet": b"PAR1",
    "arrow file": b"ARROW1\0\0",
    "arrow stream": b"\xff\xff\xff\xff",
    "excel": b"PK\x03\x04",
    "json lines": b"{",
    "json array": b"[",
}
CHANGES = st.lists(
    st.tuples(
        st.sampled_from(["flip", "put", "cut", "drop", "double", "zero", "move"]), st.floats(0, 1), st.integers(0, 255), st.integers(1, 64)
    ),
    min_size=1,
    max_size=6,
)
SECONDS = 20.0  # of the process; a second is much, but a first import counts too


def change(data, what, where, byte, size):
    place = int(where * max(len(data) - 1, 0))
    before, part, rest = data[:place], data[place : place + size], data[place + size :]
    return {
        "flip": before + bytes(b ^ byte for b in part[:1]) + part[1:] + rest,
        "put": before + bytes([byte]) * size + part + rest,
        "cut": before,
        "drop": before + rest,
        "double": before + part + part + rest,
        "zero": before + bytes(len(part)) + rest,
        "move": part + before + rest,
    }[what]


def changed(data, changes):
    for one in changes:
        data = change(data, *one)
    return data


def read(path, content):
    """Read it, as a table or not at all."""
    path.write_bytes(content)
    began = time.process_time()
    for rows in (None, 5):
        found = said = None
        try:
            found = read_table(path, rows=rows)
        except BadInput as error:
            said = str(error)
        if said is None:
            assert isinstance(found, pd.DataFrame)
            infer(found)
        else:
            assert "\n" not in said
            assert len(said) < 2000
    assert time.process_time() - began < SECONDS


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "t"


freely = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])


@pytest.mark.parametrize("form", VALID)
@given(changes=CHANGES)
@example(changes=[("flip", 0.0, 0, 1)])
@freely
def test_any_change_of_a_file_is_read_or_refused(file, form, changes):
    read(file, changed(VALID[form], changes))


@pytest.mark.parametrize("form", SIGNATURES)
@given(content=st.one_of(st.binary(max_size=2000), st.text(max_size=500).map(lambda text: text.encode("utf-8", "surrogatepass"))))
@freely
def test_any_bytes_behind_a_signature_are_read_or_refused(file, form, content):
    read(file, SIGNATURES[form] + content)


@given(
    parts=st.lists(st.sampled_from([b'"', b",", b"\n", b"\r\n", b"a", b"1", b"2.5", b"-", b" ", b";", b"\xe4", b"", b"?", b"0x1", b"inf"]))
)
@freely
def test_any_delimited_text_is_read_or_refused(file, parts):
    read(file, b"".join(parts))


def test_the_files_that_are_changed_can_be_read(file):
    for form, content in VALID.items():
        file.write_bytes(content)
        assert len(read_table(file)) == 12, form
    assert len({io.BytesIO(content).read(2) for content in VALID.values()}) >= 6
