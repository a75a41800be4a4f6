"""Texts as data: how they are cut into words, what is kept of it, and what people are told."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

from influence.actions import perform
from influence.data.text.prepare import prepare_texts
from influence.data.text.settings import Reading
from influence.data.text.tokens import encode_texts, tokenizer_of
from influence.data.text.words import LONGEST, READ, UNKNOWN, cut, fit_words
from influence.errors import BadInput
from influence.registry import attribution, mislabelled
from influence.store import Project


def table(n: int = 120) -> pd.DataFrame:
    """Texts that tell their label by a word, with groups and an empty one."""
    rng = np.random.default_rng(0)
    label = rng.choice(["bad", "good"], n)
    words = np.where(label == "good", "a fine film", "a dull film")
    texts = [f"{word} seen {rng.choice(['once', 'twice', 'never'])} in row{k}" for k, word in enumerate(words)]
    texts[7] = ""
    return pd.DataFrame({"review": texts, "label": label, "group": rng.choice(["a", "b"], n), "stars": rng.integers(1, 6, n)})


def prepared(frame: pd.DataFrame | None = None, **given):
    reading = Reading("review", **given.pop("reading", {}))
    return prepare_texts(table() if frame is None else frame, target="label", reading=reading, audit=["group"], **given)


# ---- Words


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Don't stop! it's 3", ["don't", "stop", "!", "it's", "3"]),
        ("हिन्दी भाषा", ["हिन्दी", "भाषा"]),
        ("日本語です OK", ["日", "本", "語", "で", "す", "ok"]),
        ("שלום עולם, مرحبا بِكُم", ["שלום", "עולם", ",", "مرحبا", "بِكُم"]),
        ("😀👍🏽", ["😀", "👍", "🏽"]),
        ("cafe\u0301 \uff21\uff22", ["café", "ab"]),
        ("a\x00b\x01", ["a", "b"]),
        ("<b>x</b>", ["<", "b", ">", "x", "<", "/", "b", ">"]),
        (" \n\t ", []),
    ],
)
def test_texts_of_any_script_become_words_and_signs(text, words):
    assert cut(text) == words


def test_a_vocabulary_holds_what_two_texts_have_the_commonest_first():
    found = fit_words(["b b a", "a c", "a b d", "d", f"{'x' * (LONGEST + 1)} a", f"{'x' * (LONGEST + 1)} a"], 100)
    assert found.words == ("a", "b", "d"), "b twice in one text counts once there; c is one text's; nobody says a word of 65 letters"
    assert fit_words(["b a", "a b", "c", "c"], 4).words == ("a", "b")
    np.testing.assert_array_equal(found.ids(["b what a d", ""], 3), [[3, UNKNOWN, 2], [0, 0, 0]])
    assert found.lengths(["b what a d", ""]).tolist() == [4, 0]
    assert tokenizer_of(json.loads(json.dumps(found.described()))) == found


def test_of_a_text_of_ten_megabytes_the_beginning_is_looked_at():
    assert len(cut("word " * 2_000_000)) == READ // 5
    assert cut("a" * 10_000_000) == ["a" * READ]


# ---- Data sets


def test_a_table_with_texts_becomes_ids_and_keeps_everything_for_people():
    data = prepared()
    assert data.train.x.dtype == np.int64
    assert data.train.shape == (data.encoding["length"],)
    assert set(data.train.columns) == {"review", "label", "group", "stars"}
    assert {c["name"]: (c["part"], c["input"]) for c in data.columns} == {
        "review": ("text", True), "label": ("target", False), "group": ("audit", False), "stars": ("shown", False),
    }  # fmt: skip
    assert data.audit == ("group",)
    assert 0 <= data.train.x.min()
    assert max(part.x.max() for part in (data.train, data.evaluation, data.holdout)) < data.encoding["vocabulary"]
    words = data.encoding["tokenizer"]["words"]
    assert {"fine", "dull"} < set(words)
    assert not any(word.startswith("row") for word in words), "a word of one text would give it away"
    for part in (data.train, data.holdout):
        np.testing.assert_array_equal(encode_texts(part.columns, data.encoding), part.x)
    assert "1 text is empty" in data.notes


def test_the_vocabulary_is_that_of_the_training_rows():
    frame = table()
    frame["when"] = np.where(np.arange(len(frame)) < 90, "train", "test")
    frame.loc[frame["when"] == "test", "review"] += " novel novel"
    assert "novel" not in prepared(frame, split="when").encoding["tokenizer"]["words"]


def test_the_length_is_that_of_nearly_all_and_what_is_cut_is_told():
    frame = table()
    frame.loc[3, "review"] = "long " * 40
    data = prepared(frame)
    assert data.encoding["length"] == 7
    assert "1 of 120 texts (0.8%) are longer and are cut; the longest has 40" in data.notes
    assert prepared(frame, reading={"length": 4}).train.shape == (4,)
    assert prepared(frame, reading={"length": 100}).train.shape == (40,), "no wider than the longest"
    assert prepared(frame, reading={"vocabulary": 10}).encoding["vocabulary"] == 10


def test_test_texts_that_were_trained_on_are_told():
    frame = table()
    frame["when"] = np.where(np.arange(len(frame)) < 90, "train", "test")
    frame.loc[95, "review"] = frame.loc[10, "review"]
    frame.loc[20, ["review", "label"]] = [frame.loc[10, "review"], {"good": "bad", "bad": "good"}[frame.loc[10, "label"]]]
    notes = prepared(frame, split="when").notes
    assert "1 test text stands among the training texts too" in notes
    assert "1 training text occurs again with another label" in notes


@pytest.mark.parametrize(
    ("change", "given", "said"),
    [
        (lambda t: t.assign(review=""), {}, "empty in every row"),
        (lambda t: t.assign(review=np.arange(len(t))), {}, "holds no text, but values such as 0"),
        (lambda t: t.assign(review=[f"only{k}" for k in range(len(t))]), {}, "stands in two training texts"),
        (lambda t: t.drop(columns="review"), {}, "'review' is not a column of the table. There are: label"),
        (lambda t: t, {"protected": ["review"]}, "chosen as text and as protected"),
        (lambda t: t, {"encoding": {"kind": "table"}}, "not of texts"),
        (lambda t: t, {"encoding": {"kind": "text"}}, "there is no tokenizer in it"),
        (lambda t: t, {"reading": {"tokenizer": "/nowhere"}}, "'nowhere' holds no tokenizer.json"),
    ],
)
def test_what_cannot_be_read_as_texts_is_one_sentence(change, given, said):
    with pytest.raises(BadInput, match=said):
        prepared(change(table()), **given)


def test_strange_texts_are_data_like_any_other(tmp_path):
    frame = table()
    strange = [
        "\x00\x00",
        "<script>alert(1)</script>",
        "=1+1",
        "# **x** [y](z) $a$",
        "😀😀",
        "שלום",
        "word " * 2_000_000,
        None,
        "\u202eabc",
    ]
    frame.loc[range(len(strange)), "review"] = strange
    frame.to_parquet(tmp_path / "t.parquet")
    project = Project(tmp_path / "p")
    made = perform("train", project, {"data": str(tmp_path / "t.parquet"), "target": "label", "data_set": {"text": "review"}})
    kept = project.dataset(project.run(made["run"]).dataset)
    every = pd.concat([kept.train.columns, kept.evaluation.columns, kept.holdout.columns])
    assert set(every["review"].dropna()) >= {text for text in strange if text}, "people see them letter by letter"


# ---- Training


def test_a_text_model_is_trained_without_being_told_anything_else(tmp_path):
    table(400).to_csv(tmp_path / "t.csv", index=False)
    project = Project(tmp_path / "p")
    given = {"data": str(tmp_path / "t.csv"), "target": "label", "audit": ["group"], "data_set": {"text": "review"}}
    made = perform("train", project, given)
    body = project.run(made["run"]).body
    assert body["model"]["name"] == "bag"
    assert body["model"]["given"]["vocabulary"] == project.dataset(project.run().dataset).encoding["vocabulary"]
    assert (body["recipe"]["optimizer"], body["recipe"]["lr"]) == ("adamw", 0.005)
    assert made["metrics"]["accuracy"] == 1.0
    other = perform("train", project, {**given, "model": "transformer", "set": {"lr": 0.01, "optimizer": "adam", "epochs": 1}})
    recipe = project.run(other["run"]).body["recipe"]
    assert (recipe["optimizer"], recipe["lr"], recipe["epochs"], recipe["warmup"]) == ("adam", 0.01, 1, 0.1)
    for model, settings, said in (
        ("mlp", {}, "bag, huggingface, transformer"),
        ("bag", {"vocabulary": 3}, "token ids, and the model 3"),
    ):
        with pytest.raises(BadInput, match=said):
            perform("train", project, {**given, "model": model, "set": settings})


def test_a_vocabulary_is_preprocessing_that_is_kept(tmp_path):
    table().to_csv(tmp_path / "t.csv", index=False)
    project = Project(tmp_path / "p")
    made = perform("train", project, {"data": str(tmp_path / "t.csv"), "target": "label", "data_set": {"text": "review"}})
    ids = project.dataset(project.run().dataset).train.ids[:3].tolist()
    claim = perform("unlearn", project, {"run": made["run"], "ids": ids, "method": "retrain"})
    assert claim["claim"] == "L1"
    assert "Preprocessing kept" in claim["claim_note"]


def test_an_exported_text_model_reads_raw_texts_and_comes_back(tmp_path):
    import influence

    table().to_csv(tmp_path / "t.csv", index=False)
    project = Project(tmp_path / "p")
    perform("train", project, {"data": str(tmp_path / "t.csv"), "target": "label", "data_set": {"text": "review"}, "model": "transformer"})
    perform("export_model", project, {"out": str(tmp_path / "out")})
    said = influence.load_model(tmp_path / "out").predict(pd.DataFrame({"review": ["a fine film", "a dull film", ""]}))
    assert (said["p_good"][:2] > 0.5).tolist() == [True, False]
    again = perform("import_model", project, {"path": str(tmp_path / "out"), "data": str(tmp_path / "t.csv")})
    verdicts = {check["check"]: check["verdict"] for check in again["checks"]}
    assert verdicts["Inputs as where it was trained"] == verdicts["Answers as where it was trained"] == "good"
    told = json.loads((tmp_path / "out" / "model.json").read_text())
    for wrong in ({"length": -1}, {"length": "many"}, {"length": 10**9}, {"column": 5}, {"tokenizer": {"kind": "words", "words": [1]}}):
        (tmp_path / "out" / "model.json").write_text(json.dumps({**told, "encoding": {**told["encoding"], **wrong}}))
        with pytest.raises(BadInput, match="how texts are read is damaged"):
            influence.load_model(tmp_path / "out")


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Project:
    """A project with one small model of texts."""
    folder = tmp_path_factory.mktemp("small")
    table().to_csv(folder / "t.csv", index=False)
    project = Project(folder / "p")
    given = {"data": str(folder / "t.csv"), "target": "label", "audit": ["group"], "data_set": {"text": "review"}}
    perform("train", project, {**given, "set": {"width": 4, "hidden": "3", "epochs": 3, "dtype": "float64"}})
    return project


@pytest.mark.parametrize("method", attribution.classes)
@pytest.mark.filterwarnings("ignore::UserWarning", "ignore::RuntimeWarning")  # Captum's own
def test_every_method_scores_texts(small, method):
    found = perform("attribute", small, {"query": "loss", "method": method})
    scores = small.scores(found["scores"])
    assert scores.values.shape == (found["n"], 1)
    assert np.isfinite(scores.values).all()


@pytest.mark.parametrize("method", mislabelled.classes)
def test_wrong_labels_are_looked_for_in_texts(small, method):
    assert perform("mislabelled", small, {"method": method})["n"] == len(small.dataset(small.run().dataset).train)


# ---- Real data


def test_sst2(lethe_data, tmp_path):
    project = Project(tmp_path)
    given = {"data": str(lethe_data / "sst2.parquet"), "target": "label", "split": "split", "data_set": {"text": "text"}}
    made = perform("train", project, given)
    data = project.dataset(project.run().dataset)
    assert (len(data.train), len(data.evaluation), len(data.holdout)) == (6_920, 872, 1_821)
    assert data.train.shape == (36,)
    assert "427 of 9,613 texts (4.4%) are longer and are cut; the longest has 54" in data.notes
    assert made["metrics"]["accuracy"] > 0.80, "a linear model of weighted counts reaches .813"


@pytest.mark.slow
def test_davidson_and_the_transformer(lethe_data, tmp_path):
    project = Project(tmp_path)
    given = {"target": "label_name", "split": "split", "data_set": {"text": "text"}}
    made = perform("train", project, {**given, "data": str(lethe_data / "davidson_hate_speech.parquet")})
    assert made["metrics"]["accuracy"] > 0.88, "a linear model of weighted counts reaches .892, the most frequent class .774"
    assert "60 test texts stand among the training texts too" in made["notes"]
    given = {
        **given,
        "target": "label",
        "data": str(lethe_data / "sst2.parquet"),
        "model": "transformer",
        "set": {"width": 32, "epochs": 3},
    }
    assert perform("train", project, given)["metrics"]["accuracy"] > 0.77
