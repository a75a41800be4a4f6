"""Data that are had by name: what comes with scikit-learn, what a server that stands in for OpenML or the hub has, and folders of parts."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from sklearn import datasets as learned

from influence.actions import perform
from influence.data.images.sources import holds_images
from influence.data.read import read_table, title
from influence.data.readers import folder as folders
from influence.errors import BadInput
from influence.store import Project
from tests import hugging


def films(n: int = 40, seed: int = 0) -> pd.DataFrame:
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {"text": [f"a film seen {k} times, {rng.choice(['dull', 'warm'])}" for k in range(n)], "label": rng.integers(0, 2, n)}
    )


# ---- scikit-learn


@pytest.mark.parametrize("name", ["breast_cancer", "diabetes", "digits", "iris", "wine"])
def test_a_set_of_scikit_learn_comes_as_it_has_it(name):
    table, own = read_table(f"sklearn:{name}"), getattr(learned, f"load_{name}")()
    np.testing.assert_array_equal(table.drop(columns="target").to_numpy(float), own.data)
    names = own.get("target_names")
    truth = own.target if names is None else np.asarray(names).astype(str)[own.target]
    np.testing.assert_array_equal(table["target"].to_numpy(), truth)
    assert len(read_table(f"sklearn:{name}", rows=7)) == 7
    assert title(f"sklearn:{name}") == name
    assert not holds_images(f"sklearn:{name}")
    assert not holds_images("hub:datasets/someone/films.zip")


def test_it_is_trained_on_checked_and_told_by_its_name(tmp_path):
    project = Project(tmp_path)
    assert perform("check", project, {"data": "sklearn:iris", "target": "target"})["n"]["train"] > 100
    perform("train", project, {"data": "sklearn:iris", "target": "target", "set": {"epochs": 2}})
    made = project.dataset(project.run().dataset)
    assert (made.name, made.source["path"]) == ("iris", "sklearn:iris")
    assert made.train.classes == ("setosa", "versicolor", "virginica")


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("sklearn:california_housing", r"no table 'california_housing'; it brings .*iris.* openml:NAME"),
        ("sklearn:../iris", "brings no table"), ("sklearn:", "brings no table"), ("openml:", "no name of OpenML"),
        ("openml:a/../../b", "no name of OpenML"), ("openml:a b", "no name of OpenML"), ("hub:datasets/../x", "no data set of the hub"),
        ("hub:datasets/a/b/c/d", "no data set of the hub"), ("hub:someone/model", r"names no data\. Name data as"),
    ],
)  # fmt: skip
def test_a_name_that_is_none_is_refused_without_a_word_to_anybody(name, said, monkeypatch):
    monkeypatch.setattr("socket.socket.connect", lambda *given: pytest.fail("asked"))
    with pytest.raises(BadInput, match=said) as caught:
        read_table(name)
    assert "\n" not in str(caught.value)


def test_a_name_has_no_sheets_and_takes_no_query():
    with pytest.raises(BadInput, match="has no sheets"):
        read_table("sklearn:iris", sheet="one")
    with pytest.raises(BadInput, match="only a database can be asked"):
        read_table("sklearn:iris", query="SELECT 1")


# ---- OpenML

ARFF = """@RELATION people
@ATTRIBUTE age NUMERIC
@ATTRIBUTE work {state,private}
@ATTRIBUTE 'pay class' {low,high}
@DATA
"""


class Reply(io.BytesIO):
    """An answer of OpenML."""

    def info(self) -> dict[str, str]:
        return {}


def openml(monkeypatch: pytest.MonkeyPatch, home: Path, rows: int = 60, versions: int = 1, **told: Any) -> list[str]:
    """Let OpenML have one set, people, of number 77; return the addresses that it is asked."""
    body = (
        ARFF + "".join(f"{20 + k},{'?' if k == 3 else ('state', 'private')[k % 2]},{('low', 'high')[k % 3 == 0]}\n" for k in range(rows))
    ).encode()
    flags = {"is_ignore": "false", "is_row_identifier": "false", "number_of_missing_values": "0"}
    columns = [("age", "numeric", None), ("work", "nominal", ["state", "private"]), ("pay class", "nominal", ["low", "high"])]
    features = [
        {
            "index": str(k),
            "name": name,
            "data_type": kind,
            "is_target": str(name == "pay class").lower(),
            **flags,
            **({"nominal_value": v} if v else {}),
        }
        for k, (name, kind, v) in enumerate(columns)
    ]
    url = "https://www.openml.org/data/v1/download/5/people.arff"
    description = {"id": "77", "name": "people", "version": "1", "format": "ARFF", "status": "active", "url": url, "description": "",
                   "md5_checksum": hashlib.md5(body).hexdigest(), **told}  # fmt: skip
    listed = {"data": {"dataset": [{"did": 77, "name": "people", "version": k + 1, "status": "active"} for k in range(versions)]}}
    answers: dict[str, Any] = {
        "list/data_name/people": listed, "features/77": {"data_features": {"feature": features}}, "download/5": body,
        "qualities/77": {"data_qualities": {"quality": [{"name": "NumberOfInstances", "value": str(rows)}]}},
        "json/data/77": {"data_set_description": description},
    }  # fmt: skip
    asked: list[str] = []

    def urlopen(request: Any) -> Reply:
        asked.append(request.full_url)
        found = next((answer for part, answer in answers.items() if part in request.full_url), None)
        if found is None:
            raise OSError("Name or service not known")
        return Reply(found if isinstance(found, bytes) else json.dumps(found).encode())

    monkeypatch.setattr("sklearn.datasets._openml.urlopen", urlopen)
    monkeypatch.setenv("SCIKIT_LEARN_DATA", str(home))
    return asked


@pytest.mark.parametrize("name", ["people", "77"])
def test_a_set_of_openml_comes_with_its_columns_and_is_fetched_once(monkeypatch, tmp_path, name):
    asked = openml(monkeypatch, tmp_path)
    table = read_table(f"openml:{name}")
    assert list(table.columns) == ["age", "work", "pay class"]
    assert table["age"].tolist() == list(range(20, 80))
    assert table["work"].isna().sum() == 1
    assert pd.api.types.is_string_dtype(table["work"].dtype)
    assert table.attrs["note"] == "From OpenML, data set 77, version 1; its own target is pay class."
    first = len(asked)
    assert read_table(f"openml:{name}").equals(table)
    assert len(asked) == first


def test_what_openml_says_of_other_versions_and_flaws_is_told(monkeypatch, tmp_path):
    openml(monkeypatch, tmp_path, versions=2, error="unusable")
    note = read_table("openml:people").attrs["note"]
    assert "give openml:77 to be sure of this one" in note
    assert "OpenML warns" in note
    project = Project(tmp_path / "p")
    result = perform("train", project, {"data": "openml:people", "target": "pay class", "set": {"epochs": 1}})
    assert "From OpenML, data set 77, version 1" in result["notes"]


@pytest.mark.parametrize(
    ("told", "said"),
    [({"md5_checksum": "0" * 32}, "could not be had from OpenML"), ({"format": "Sparse_ARFF"}, r"could not be had .*Sparse ARFF")],
)
def test_a_set_that_is_damaged_or_sparse_is_refused_in_one_sentence(monkeypatch, tmp_path, told, said):
    openml(monkeypatch, tmp_path, **told)
    with pytest.raises(BadInput, match=said) as caught:
        read_table("openml:people")
    assert "\n" not in str(caught.value)


def test_without_a_network_it_is_said_what_to_do(monkeypatch, tmp_path):
    openml(monkeypatch, tmp_path)
    with pytest.raises(BadInput, match=r"'other' could not be had from OpenML .*Offline\? Download it where there is a network"):
        read_table("openml:other")


# ---- Folders of parts


def parts(home: Path, **files: pd.DataFrame | bytes) -> Path:
    """Write tables, and bytes as they are; `__` in a name is a folder, `_0` before the ending a number."""
    for name, content in files.items():
        place = home / name.replace("__", "/").replace("_DOT_", ".")
        place.parent.mkdir(parents=True, exist_ok=True)
        if isinstance(content, bytes):
            place.write_bytes(content)
        elif place.suffix == ".parquet":
            content.to_parquet(place)
        elif place.suffix == ".jsonl":
            content.to_json(place, orient="records", lines=True)
        else:
            content.to_csv(place, index=False)
    return home


def test_files_of_parts_are_one_table_with_a_split_column(tmp_path):
    a, b, c, d = (films(20, k) for k in range(4))
    home = parts(
        tmp_path / "films", **{"data__train-00000-of-00002_DOT_parquet": a, "data__train-00001-of-00002_DOT_parquet": b},
        **{"data__validation-00000-of-00001_DOT_parquet": c, "data__unsupervised-0_DOT_parquet": d, "README_DOT_md": b"# train"},
    )  # fmt: skip
    table = read_table(home)
    assert table["split"].tolist() == ["train"] * 40 + ["validation"] * 20
    pd.testing.assert_frame_equal(table[["text", "label"]], pd.concat([a, b, c], ignore_index=True), check_dtype=False)
    assert table.attrs["note"] == "1 of 4 files are of no part that is known, and were left out."
    assert len(read_table(home, rows=25)) == 25
    assert not holds_images(home)
    project = Project(tmp_path / "p")
    result = perform("train", project, {
        "data": str(home), "target": "label", "split": "split", "data_set": {"text": "text"}, "set": {"epochs": 1}
    })  # fmt: skip
    assert result["n_train"] == 40
    assert "left out" in result["notes"]


@pytest.mark.parametrize("ending", ["csv", "jsonl", "parquet"])
def test_parts_are_told_by_folders_too_and_files_of_none_are_one_table(tmp_path, ending):
    home = parts(tmp_path / "a", **{f"train__0000_DOT_{ending}": films(), f"test__0000_DOT_{ending}": films(10, 1)})
    assert read_table(home)["split"].value_counts().to_dict() == {"train": 40, "test": 10}
    flat = parts(tmp_path / "b", **{f"one_DOT_{ending}": films(), f"two_DOT_{ending}": films(10, 1)})
    assert list(read_table(flat).columns) == ["text", "label"]
    assert len(read_table(flat)) == 50


def test_gzipped_parts_are_read(tmp_path):
    home = parts(tmp_path, **{"train_DOT_csv_DOT_gz": gzip.compress(films().to_csv(index=False).encode()), "test_DOT_csv": films(5, 1)})
    assert read_table(home)["split"].value_counts().to_dict() == {"train": 40, "test": 5}


def test_numbers_of_classes_get_the_names_that_the_file_tells(tmp_path):
    table = films().assign(label=np.arange(40) % 3 - 1)
    told = {
        "info": {"features": {"label": {"names": ["bad", "good"], "_type": "ClassLabel"}, "text": {"dtype": "string", "_type": "Value"}}}
    }
    arrow = pa.Table.from_pandas(table, preserve_index=False).replace_schema_metadata({"huggingface": json.dumps(told)})
    pq.write_table(arrow, tmp_path / "train.parquet")
    found = read_table(tmp_path)["label"]
    assert found.iloc[:6].fillna("none").tolist() == ["none", "bad", "good"] * 2
    pq.write_table(
        pa.Table.from_pandas(table.assign(label=7), preserve_index=False).replace_schema_metadata(arrow.schema.metadata),
        tmp_path / "train.parquet",
    )
    assert set(read_table(tmp_path)["label"]) == {7}


def test_what_is_no_set_of_parts_is_refused(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match="a folder without tables; a file is needed"):
        read_table(tmp_path / "empty")
    home = parts(tmp_path / "unlike", train_DOT_csv=films(), test_DOT_csv=films().rename(columns={"label": "other"}))
    with pytest.raises(BadInput, match=r"'train.csv' and 'test.csv' differ in their columns \(label, other\)"):
        read_table(home)
    torn = parts(tmp_path / "torn", train_DOT_parquet=b"PAR1 and no more", test_DOT_csv=films())
    with pytest.raises(BadInput, match=r"'train\.parquet' is damaged"):
        read_table(torn)


def test_a_link_that_leads_out_of_a_folder_is_not_followed(tmp_path):
    films().to_csv(tmp_path / "secret.csv", index=False)
    home = parts(tmp_path / "home", train_DOT_csv=films())
    os.symlink(tmp_path / "secret.csv", home / "test.csv")
    with pytest.raises(BadInput, match=r"'test\.csv' is a link that leads out of its folder"):
        read_table(home)


def test_a_folder_with_images_is_one_of_images(tmp_path):
    home = parts(tmp_path / "a", metadata_DOT_csv=films(), cat__1_DOT_png=b"")
    assert holds_images(home)
    assert holds_images(parts(tmp_path / "b", readme_DOT_md=b""))


# ---- The hub


@pytest.fixture
def hub(monkeypatch, tmp_path):
    library = pytest.importorskip("huggingface_hub")

    def at(address: str) -> None:
        monkeypatch.setattr(library, "HfApi", partial(library.HfApi, endpoint=address))
        monkeypatch.setattr(library.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))

    return at


SET = "datasets/someone/films"


def test_a_set_of_the_hub_comes_as_the_hub_converted_it(hub, tmp_path):
    home = parts(tmp_path / "r", default__train__0000_DOT_parquet=films(), default__test__0000_DOT_parquet=films(10, 1),
                 other__train__0000_DOT_parquet=films(7, 2))  # fmt: skip
    with hugging.stand_in(home, {"films.py": b"raise SystemExit('ran')", "data.pkl": b"\x80"}, SET, converted=True) as (address, asked):
        hub(address)
        table = read_table("hub:datasets/someone/films")
        assert table["split"].value_counts().to_dict() == {"train": 40, "test": 10}
        assert len(read_table("hub:datasets/someone/films/other")) == 7
        assert len(read_table("hub:datasets/someone/films")) == 50, "another configuration in the cache changes nothing"
        assert not [path for path in asked if path.endswith((".py", ".pkl"))]
        with pytest.raises(BadInput, match=r"no configuration 'none'. There are: default, other\."):
            read_table("hub:datasets/someone/films/none")
        assert title("hub:datasets/someone/films/other") == "films"
        project = Project(tmp_path / "p")
        perform("train", project, {"data": "hub:datasets/someone/films", "target": "label", "split": "split", "data_set": {"text": "text"},
                                   "set": {"epochs": 1}})  # fmt: skip
        made = project.dataset(project.run().dataset)
        assert (made.name, made.source["path"]) == ("films", "hub:datasets/someone/films")


def test_a_set_that_the_hub_did_not_convert_comes_as_it_lies(hub, tmp_path):
    home = parts(tmp_path / "r", data__train_DOT_csv=films(), data__test_DOT_csv=films(10, 1))
    with hugging.stand_in(home, {"README.md": b"# films"}, SET) as (address, asked):
        hub(address)
        assert read_table("hub:datasets/someone/films")["split"].value_counts().to_dict() == {"train": 40, "test": 10}
        assert any(hugging.CONVERTED in path for path in asked)


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"films.py": b"raise SystemExit('ran')"}, r"no Parquet, CSV or JSON lines files .*scripts are never run"),
        ({"en/train.csv": b"a,b\n1,2\n", "de/train.csv": b"a,b\n1,2\n"}, r"several configurations: de, en\. Name one, as hub:.*films/de"),
    ],
)  # fmt: skip
def test_a_set_without_tables_or_with_several_is_refused(hub, tmp_path, files, said):
    with hugging.stand_in(parts(tmp_path / "r"), files, SET) as (address, _):
        hub(address)
        with pytest.raises(BadInput, match=said):
            read_table("hub:datasets/someone/films")


def test_a_set_that_is_too_large_is_not_fetched(hub, tmp_path, monkeypatch):
    from influence.data.readers import _hub

    monkeypatch.setattr(_hub, "MOST_BYTES", 100)
    with hugging.stand_in(parts(tmp_path / "r", train_DOT_csv=films()), {}, SET) as (address, asked):
        hub(address)
        with pytest.raises(BadInput, match="MB of tables; at most"):
            read_table("hub:datasets/someone/films")
        assert not [path for path in asked if "/resolve/" in path]


def test_a_set_that_cannot_be_had_says_how_to_bring_it(hub, tmp_path):
    with hugging.stand_in(parts(tmp_path / "r"), {}, SET) as (address, _):
        hub(address)
        with pytest.raises(BadInput, match=r"'no/such' could not be had .*Offline\? .*hf download no/such --repo-type dataset") as caught:
            read_table("hub:datasets/no/such")
    assert "\n" not in str(caught.value)


def test_parts_are_called_as_a_split_column_calls_them():
    from influence.data.split import WORDS

    assert set(folders.PARTS) == set(WORDS)
