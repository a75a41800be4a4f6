"""What leaves Lethe: CSV that no spreadsheet executes and that can be undone; files and folders whole or not at all."""

from __future__ import annotations

import csv
import io
import os

import numpy as np
import pandas as pd
import pytest

from influence.errors import BadInput
from influence.files import csv_text, escaped, unescaped, whole_file, whole_folder, write_scores, write_table
from influence.types import Scores

FORMULAS = ["=1+1", "+cmd|' /C calc'!A0", "-2+3", "@SUM(A1)", "\t=1", "\r=1", "\n=1", "\uff1d1", "'=1", "''-x"]
HARMLESS = ["a", "", "1=1", " =1", "'quoted'", "-5", "+3.5", "-1e-3", ".5", "'", "''"]


@pytest.mark.parametrize("text", FORMULAS)
def test_formulas_are_marked_and_marks_come_off(text):
    made = escaped(pd.DataFrame({text: [text]}))
    assert made.columns[0] == made.iloc[0, 0] == f"'{text}"
    assert unescaped(f"'{text}") == text


@pytest.mark.parametrize("text", HARMLESS)
def test_all_other_text_stays_as_it_is(text):
    assert escaped(pd.DataFrame({"a": [text]})).iloc[0, 0] == text
    assert unescaped(text) == text


def test_numbers_stay_numbers_and_text_is_quoted():
    when = pd.to_datetime(["2020-01-01"] * 2)
    table = pd.DataFrame({"n": [-1, 2], "x": [-0.5, np.nan], "b": [True, False], "t": ["a;=1+1", None], "when": when})
    kept = table.copy()
    lines = csv_text(table).splitlines()
    assert lines[1].startswith('-1,-0.5,True,"a;=1+1"')
    pd.testing.assert_frame_equal(table, kept)
    pd.testing.assert_frame_equal(pd.read_csv(io.StringIO(csv_text(table)), parse_dates=["when"]), table, check_dtype=False)


def test_a_mixed_column_and_categories_are_looked_through():
    mixed = pd.DataFrame({"a": pd.Series([-1, "=x", None], dtype=object), "c": pd.Categorical(["=a", "b", "=a"])})
    assert escaped(mixed)["a"].tolist()[:2] == [-1, "'=x"]
    assert escaped(mixed)["c"].tolist() == ["'=a", "b", "'=a"]


def test_no_program_or_page_writes_csv_by_itself():
    from pathlib import Path

    root = Path(__file__).parents[1]
    files = [*root.glob("pages/*.py"), *root.glob("influence/**/*.py")]
    assert [f.name for f in files if ".to_csv(" in f.read_text(encoding="utf-8")] == ["files.py"]


def test_scores_are_written_in_both_forms(tmp_path):
    scores = Scores(np.array([[0.5], [-1.0]]), np.array(["=a", "b"]), ("-gap",), "tracin", False)
    write_scores(scores, tmp_path / "s.parquet", "lower")
    write_scores(scores, tmp_path / "s.csv", "lower")
    assert pd.read_parquet(tmp_path / "s.parquet")["id"].tolist() == ["=a", "b"]
    rows = list(csv.reader((tmp_path / "s.csv").read_text().splitlines()))
    assert rows == [["id", "'-gap"], ["'=a", "0.5"], ["b", "-1.0"]]


def test_a_file_is_whole_or_not_there(tmp_path):
    out = tmp_path / "new" / "t.csv"
    write_table(pd.DataFrame({"a": [1]}), out)

    def fails(half):
        half.write_text("half")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        whole_file(out, fails)
    assert out.read_text() == '"a"\n1\n'
    assert os.listdir(out.parent) == ["t.csv"]


def test_a_folder_is_whole_or_not_there(tmp_path):
    def stopped():
        with whole_folder(tmp_path / "f") as half:
            (half / "a").write_text("a")
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        stopped()
    assert os.listdir(tmp_path) == []
    with whole_folder(tmp_path / "f") as half:
        (half / "a").write_text("a")
    assert os.listdir(tmp_path / "f") == ["a"]
    with pytest.raises(BadInput, match="exists already"), whole_folder(tmp_path / "f"):
        pytest.fail("nothing is written over")
    (tmp_path / "file").write_text("")
    with pytest.raises(BadInput, match="cannot be written"), whole_folder(tmp_path / "file" / "f"):
        pytest.fail("a file has no folders in it")


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_is_refused(tmp_path):
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(BadInput, match="cannot be written"), whole_folder(tmp_path / "f"):
            pytest.fail("it may not be written")
    finally:
        tmp_path.chmod(0o700)
