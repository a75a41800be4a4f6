"""Classifiers of Hugging Face: followed exactly, brought to the same logits, and nothing in their folders is believed or run."""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from influence.actions import perform
from influence.attribution.tracin import TracIn
from influence.errors import BadInput
from influence.exchange.hub import FILES, fetched
from influence.exchange.huggingface import card_of
from influence.grads import outputs, sweep
from influence.loop import Bound, cat
from influence.losses import per_example
from influence.models.huggingface import HuggingFace
from influence.replay import walk
from influence.store import Project
from influence.training import bound_at, load, train, train_many
from influence.types import Examples, Recipe
from tests import hugging
from tests.tiny import Mean, question

transformers = pytest.importorskip("transformers", exc_type=ImportError)

T, WORDS = 8, 30
SMALL = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24, "max_position_embeddings": 16}
BEHIND = {"pad_token_id": 1, "max_position_embeddings": 18}
SHORT = {"depths": [1, 1], "hidden_sizes": [8, 12], "num_stages": 2}
KINDS: dict[str, dict[str, Any]] = {
    "bert": SMALL,
    "distilbert": {"dim": 16, "n_layers": 2, "n_heads": 2, "hidden_dim": 24, "max_position_embeddings": 16},
    "roberta": {**SMALL, **BEHIND},
    "xlm-roberta": {**SMALL, **BEHIND},
    "electra": {**SMALL, "embedding_size": 16},
    "albert": {**SMALL, "embedding_size": 12},
    "mpnet": {**SMALL, **BEHIND},
    "deberta-v2": {**SMALL, "relative_attention": True, "pos_att_type": ["c2p", "p2c"], "position_buckets": 4},
    "modernbert": {**SMALL, "cls_token_id": 2, "sep_token_id": 3, "bos_token_id": 2, "eos_token_id": 3},
    "gpt2": {"n_embd": 16, "n_layer": 2, "n_head": 2, "n_positions": 16},
    "llama": SMALL,
    "vit": {**SMALL, "image_size": 16, "patch_size": 8},
    "resnet": {**SHORT, "embedding_size": 8, "layer_type": "basic"},
    "convnext": SHORT,
}
"""Small models of kinds that are often brought."""
IMAGES = ("vit", "resnet", "convnext")


def config(kind: str, **given: Any) -> str:
    texts = {} if kind in IMAGES else {"vocab_size": WORDS, "pad_token_id": 0}
    return json.dumps({"model_type": kind, **texts, **KINDS[kind], **given})


def rows_for(kind: str, n: int = 6, seed: int = 0) -> Examples:
    rng = np.random.default_rng(seed)
    ends = np.arange(n) % T + 1
    tokens = np.where(np.arange(T) < ends[:, None], rng.integers(5, WORDS + 1, (n, T)), 0)
    x = rng.random((n, 3, 16, 16)) if kind in IMAGES else tokens
    return Examples(x, rng.integers(0, 3, n), np.arange(n), pd.DataFrame({"g": np.arange(n) % 2}), ("a", "b", "c"))


def tensors_of(rows: Examples) -> tuple[torch.Tensor, torch.Tensor]:
    return torch.from_numpy(np.array(rows.x)), torch.from_numpy(rows.y)


# ---- Followed exactly


@pytest.mark.parametrize("kind", KINDS)
def test_a_sweep_is_one_gradient_at_a_time(kind):
    rows = rows_for(kind)
    bound = Bound(HuggingFace(rows.shape, 3, config(kind)), 1, "float64")
    bound.module.eval()
    x, y = tensors_of(rows)
    v = torch.randn(2, len(bound.flat), dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    truth = []
    for i in range(len(rows)):
        loss = per_example("cross_entropy", bound.module(x[i : i + 1]), y[i : i + 1]).sum()
        found = torch.autograd.grad(loss, bound.params, materialize_grads=True)
        truth.append((v @ cat(found)).numpy())
    np.testing.assert_allclose(sweep(bound, x, y, "cross_entropy", v), truth, rtol=1e-7, atol=1e-8 * np.abs(truth).max())


@pytest.mark.parametrize("kind", ["bert", "roberta", "gpt2"])
def test_padding_and_neighbours_change_nothing(kind):
    rows = rows_for(kind)
    bound = Bound(HuggingFace(rows.shape, 3, config(kind)), 1, "float64")
    bound.module.eval()
    x, _ = tensors_of(rows)
    alone = torch.cat([bound.module(row[None, : int((row > 0).sum())]) for row in x])
    torch.testing.assert_close(bound.module(x), alone, rtol=1e-10, atol=1e-12)
    tokens = {"input_ids": torch.where(x > 0, x - 1, KINDS[kind].get("pad_token_id", 0)), "attention_mask": (x > 0).long()}
    torch.testing.assert_close(bound.module(tokens), bound.module(x), rtol=1e-10, atol=1e-12)


BERT = {**SMALL, "hidden_size": 32, "intermediate_size": 64, "hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1}


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_the_metagradient_of_a_bert_with_dropout_is_the_difference_of_retrainings(optimizer):
    rows, model = rows_for("bert", 24), HuggingFace((T,), 3, config("bert", **BERT))
    how = Recipe(batch_size=6, epochs=2, dtype="float64", optimizer=optimizer, lr=0.01, eps_root=1e-6, decayed="all")
    asked = question(rows_for("bert", 8, 1), Mean())
    slope = walk(train(model, rows, how), rows, asked).slope[:, 0]
    direction, h = np.random.default_rng(0).normal(size=24), 1e-4
    ends = train_many(model, rows, how, np.stack([1 + h * direction, 1 - h * direction]))
    up, down = (float(asked.value(outputs(bound_at(model, how, end), asked.examples))) for end in ends)
    assert (up - down) / (2 * h) == pytest.approx(slope @ direction, rel=1e-3, abs=1e-8)
    assert train(model, rows, how).digest == train(model, rows, how).digest, "dropout is drawn again"


def test_scores_of_a_bert_are_products_of_gradients_one_row_at_a_time():
    """TracIn, of a model with dropout: the model is asked, not trained, when gradients are taken."""
    rows, asked = rows_for("bert", 24), question(rows_for("bert", 8, 1), Mean())
    how = Recipe(batch_size=6, epochs=2, dtype="float64", optimizer="adamw", lr=0.01, checkpoints=2)
    trained = train(HuggingFace((T,), 3, config("bert", **BERT)), rows, how)
    found = TracIn()(trained, rows, asked).values[:, 0]
    truth = np.zeros(24)
    for checkpoint in trained.checkpoints:
        bound = load(trained, checkpoint)
        x, y = tensors_of(rows)
        other = torch.autograd.grad(asked.value(bound.module(torch.from_numpy(np.array(asked.examples.x))))[0], bound.params)
        for i in range(24):
            loss = per_example("cross_entropy", bound.module(x[i : i + 1]), y[i : i + 1])[0]
            truth[i] += checkpoint.lr * float(cat(torch.autograd.grad(loss, bound.params)) @ cat(other))
    np.testing.assert_allclose(found, truth, rtol=1e-8)


def test_images_are_normalised_as_the_folder_says():
    rows = rows_for("vit")
    plain, shifted = (
        Bound(HuggingFace(rows.shape, 3, config("vit"), normalised), 1, "float64").module.eval()
        for normalised in ("", "0.5,0.4,0.3/0.2,0.2,0.1")
    )
    x, _ = tensors_of(rows)
    mean, sd = torch.tensor([0.5, 0.4, 0.3]).double(), torch.tensor([0.2, 0.2, 0.1]).double()
    torch.testing.assert_close(shifted(x), plain((x - mean[:, None, None]) / sd[:, None, None]))
    with pytest.raises(BadInput, match="normalised must be means and sds"):
        HuggingFace(rows.shape, 3, config("vit"), "0.5/0")()


# ---- Brought


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """A folder with a tiny BERT for two classes, its tokenizer, and a table of texts."""
    return hugging.write(tmp_path_factory.mktemp("folder"))


def bring(made: Path, project: Path, **given: Any) -> dict[str, Any]:
    args = {"path": str(made / "bert"), "data": str(made / "rows.parquet"), "target": "label", "data_set": {"text": "text"}, **given}
    return perform("import_model", Project(project), args)


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in result["checks"]}


def test_a_folder_is_brought_to_its_own_logits(made, tmp_path):
    result = bring(made, tmp_path)
    assert verdicts(result)["Answers as where it was trained"] == "good"
    assert verdicts(result)["Order of the outputs"] == "good"
    tokenizer = transformers.AutoTokenizer.from_pretrained(made / "bert")
    model = transformers.AutoModelForSequenceClassification.from_pretrained(made / "bert").eval()
    table = pd.read_parquet(made / "rows.parquet")
    given = tokenizer(table["text"].fillna("").tolist(), padding=True, truncation=True, max_length=24, return_tensors="pt")
    with torch.no_grad():
        logits = model(**given).logits
    said = pd.read_parquet(result["predictions"]).set_index("id").sort_index()
    np.testing.assert_allclose(said[["p_grim", "p_kind"]], logits.softmax(1), atol=1e-5)
    project = Project(tmp_path)
    run = project.run()
    data = project.dataset(run.dataset)
    mine = outputs(Bound(project.trained(run.id).model).load(project.trained(run.id).final.load()), data.train)
    np.testing.assert_allclose(mine, logits[torch.from_numpy(np.array(data.train.ids))], atol=1e-5)
    assert data.train.shape == (24,), "cut where the model ends"
    assert perform("attribute", project, {"query": "loss", "method": "tracin"})["n"] == len(data.train)


@pytest.mark.parametrize(
    ("rename", "names", "classes"),
    [
        ({"grim": "GRIM", "kind": "Kind"}, None, ("GRIM", "Kind")),
        ({"grim": "0", "kind": "1"}, None, ("0", "1")),
        ({}, {"0": "kind", "1": "grim"}, ("kind", "grim")),
        ({}, {"0": "LABEL_0", "1": "LABEL_1"}, ("grim", "kind")),
    ],
)
def test_classes_stand_in_the_order_of_the_models_outputs(made, tmp_path, rename, names, classes):
    shutil.copytree(made / "bert", tmp_path / "bert")
    told = json.loads((tmp_path / "bert" / "config.json").read_text())
    (tmp_path / "bert" / "config.json").write_text(json.dumps({**told, "id2label": names or told["id2label"]}))
    table = pd.read_parquet(made / "rows.parquet")
    table["label"] = table["label"].map(lambda label: rename.get(label, label))
    table.to_parquet(tmp_path / "rows.parquet")
    result = bring(made, tmp_path / "p", path=str(tmp_path / "bert"), data=str(tmp_path / "rows.parquet"))
    project = Project(tmp_path / "p")
    assert project.dataset(project.run().dataset).train.classes == classes
    assert verdicts(result)["Order of the outputs"] == ("none" if names and "LABEL_0" in names.values() else "good")


def test_a_classifier_of_images_is_brought_to_its_own_logits(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for k in range(40):
        place = tmp_path / "images" / ("dark" if k % 2 else "light")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 120 if k % 2 else 255, (16, 16, 3), dtype=np.uint8)).save(place / f"{k}.png")
    torch.manual_seed(0)
    told = transformers.ViTConfig(**{**KINDS["vit"], "id2label": {0: "dark", 1: "light"}, "label2id": {"dark": 0, "light": 1}})
    model = transformers.ViTForImageClassification(told).eval()
    model.save_pretrained(tmp_path / "vit")
    (tmp_path / "vit" / "preprocessor_config.json").write_text(json.dumps({"image_mean": [0.5] * 3, "image_std": [0.25] * 3}))
    project = Project(tmp_path / "p")
    result = perform("import_model", project, {"path": str(tmp_path / "vit"), "data": str(tmp_path / "images")})
    assert verdicts(result)["Answers as where it was trained"] == "good"
    data = project.dataset(project.run().dataset)
    assert data.train.shape == (3, 16, 16)
    trained = project.trained(project.run().id)
    with torch.no_grad():
        truth = model(pixel_values=(torch.from_numpy(np.array(data.train.x)) - 0.5) / 0.25).logits
    np.testing.assert_allclose(outputs(Bound(trained.model).load(trained.final.load()), data.train), truth, atol=1e-5)


def test_an_exported_model_comes_back_with_its_tokenizer(made, tmp_path):
    import influence

    bring(made, tmp_path / "p")
    perform("export_model", Project(tmp_path / "p"), {"out": str(tmp_path / "out")})
    said = influence.load_model(tmp_path / "out").predict(pd.read_parquet(made / "rows.parquet").drop(columns="label"))
    first = pd.read_parquet(bring(made, tmp_path / "q")["predictions"]).set_index("id").sort_index()
    np.testing.assert_allclose(said["p_kind"], first["p_kind"], atol=1e-6)
    again = perform("import_model", Project(tmp_path / "q"), {"path": str(tmp_path / "out"), "data": str(made / "rows.parquet")})
    assert verdicts(again)["Answers as where it was trained"] == verdicts(again)["Inputs as where it was trained"] == "good"


# ---- Out again


def library_logits(folder: Path, texts: list[str], **given: Any) -> torch.Tensor:
    """What a person who has the transformers library alone is answered."""
    reader = transformers.AutoTokenizer.from_pretrained(folder)
    model = transformers.AutoModelForSequenceClassification.from_pretrained(folder, **given).eval()
    with torch.no_grad():
        found: torch.Tensor = model(**reader(texts, padding=True, truncation=True, return_tensors="pt")).logits
    return found


def trained_on(made: Path, project: Path, **given: Any) -> Project:
    told = json.loads((made / "bert" / "config.json").read_text())
    read = {"text": "text", "tokenizer": str(made / "bert")}
    asked = {"data": str(made / "rows.parquet"), "target": "label", "data_set": read, "model": "huggingface"}
    perform("train", Project(project), {**asked, "set": {"config": json.dumps(told), "epochs": 2}} | given)
    return Project(project)


def leave(project: Project, out: Path, run: str | None = None) -> Path:
    perform("export_model", project, {"out": str(out), "format": "huggingface", "run": run})
    return out


def own_logits(project: Project, run: str) -> torch.Tensor:
    trained = project.trained(run)
    return outputs(Bound(trained.model).load(trained.final.load()), project.dataset(project.run(run).dataset).train)


def texts_in(project: Project, run: str) -> list[str]:
    return project.dataset(project.run(run).dataset).train.columns["text"].fillna("").tolist()


@pytest.mark.parametrize("how", ["brought", "trained", "unlearned"])
def test_a_model_of_the_library_goes_out_as_a_folder_that_it_opens(made, tmp_path, how):
    if how == "brought":
        bring(made, tmp_path / "p", data_set={"text": "text", "length": 7})  # shorter than its tokenizer was made for
    else:
        trained_on(made, tmp_path / "p")
    project = Project(tmp_path / "p")
    run = project.run().id
    if how == "unlearned":
        ids = project.dataset(project.run().dataset).train.ids[:4].tolist()
        run = perform("unlearn", project, {"ids": ids, "method": "finetune"})["run"]
    folder = leave(project, tmp_path / "out", run)
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", "README.md",
    }  # fmt: skip
    names = project.dataset(project.run().dataset).train.classes
    config = transformers.AutoConfig.from_pretrained(folder)
    assert tuple(config.id2label[place] for place in range(2)) == names == ("grim", "kind")
    said = library_logits(folder, texts_in(project, run))
    assert float(said.std()) > 0.01
    np.testing.assert_allclose(own_logits(project, run), said, atol=2e-5)
    card = (folder / "README.md").read_text()
    assert "AutoModelForSequenceClassification.from_pretrained" in card
    assert ("4 training rows" in card) == (how == "unlearned")
    again = bring(made, tmp_path / "q", path=str(folder))
    assert verdicts(again)["Answers as where it was trained"] == verdicts(again)["Order of the outputs"] == "good"


def test_texts_are_cut_at_the_side_that_the_tokenizer_says(made, tmp_path):
    shutil.copytree(made / "bert", tmp_path / "bert")
    file = tmp_path / "bert" / "tokenizer_config.json"
    file.write_text(json.dumps(json.loads(file.read_text()) | {"truncation_side": "left"}))
    bring(made, tmp_path / "p", path=str(tmp_path / "bert"), data_set={"text": "text", "length": 6})
    project = Project(tmp_path / "p")
    said = library_logits(leave(project, tmp_path / "out"), texts_in(project, project.run().id))
    np.testing.assert_allclose(own_logits(project, project.run().id), said, atol=2e-5)


def test_a_number_goes_out_with_the_way_back_to_its_unit(made, tmp_path):
    table = pd.read_parquet(made / "rows.parquet")
    table["label"] = np.where(table["label"] == "kind", 1000.5, 200.25) + np.arange(len(table))
    table.to_parquet(tmp_path / "rows.parquet")
    told = json.loads((made / "bert" / "config.json").read_text())
    project = trained_on(made, tmp_path / "p", data=str(tmp_path / "rows.parquet"), set={"config": json.dumps(told), "epochs": 2})
    folder, run = leave(project, tmp_path / "out"), project.run()
    card = (folder / "README.md").read_text()
    scale, shift = (float(part) for part in card.split("its output times ")[1].split(".\n")[0].split(" plus "))
    said = library_logits(folder, texts_in(project, run.id))[:, 0] * scale + shift
    table = project.table(run.body["predictions"]).set_index("id")
    ids = project.dataset(run.dataset).train.ids
    np.testing.assert_allclose(table.loc[ids, "prediction"], said, rtol=1e-4)


def test_a_classifier_of_images_goes_out_and_comes_back(tmp_path):
    from PIL import Image

    rng = np.random.default_rng(0)
    for k in range(40):
        place = tmp_path / "images" / ("dark" if k % 2 else "light")
        place.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 120 if k % 2 else 255, (16, 16, 3), dtype=np.uint8)).save(place / f"{k}.png")
    asked = {"data": str(tmp_path / "images"), "model": "huggingface"}
    levels = "0.5,0.4,0.3/0.25,0.25,0.25"
    project = Project(tmp_path / "p")
    perform("train", project, {**asked, "set": {"config": config("vit", id2label={0: "x", 1: "y"}), "normalised": levels, "epochs": 1}})
    folder = leave(project, tmp_path / "out")
    model = transformers.AutoModelForImageClassification.from_pretrained(folder).eval()
    assert model.config.id2label == {0: "dark", 1: "light"}
    reader = transformers.AutoImageProcessor.from_pretrained(folder)
    data = project.dataset(project.run().dataset).train
    shown = [Image.fromarray((np.array(x).transpose(1, 2, 0) * 255).round().astype(np.uint8)) for x in data.x]
    with torch.no_grad():
        said = model(**reader(shown, return_tensors="pt")).logits
    np.testing.assert_allclose(own_logits(project, project.run().id), said, atol=1e-4)
    again = perform("import_model", Project(tmp_path / "q"), {"path": str(folder), "data": str(tmp_path / "images")})
    assert verdicts(again)["Answers as where it was trained"] == "good"


def test_what_the_library_could_not_open_is_refused_and_nothing_is_written(made, tmp_path):
    project = Project(tmp_path / "p")
    given = {"data": str(made / "rows.parquet"), "target": "label", "data_set": {"text": "text"}, "set": {"epochs": 1}}
    perform("train", project, given)
    with pytest.raises(BadInput, match=r"not one of Hugging Face's.* Export it as safetensors"):
        leave(project, tmp_path / "out")
    told = json.dumps({**json.loads((made / "bert" / "config.json").read_text()), "vocab_size": 500})
    perform("train", project, {**given, "model": "huggingface", "set": {"config": told, "epochs": 1}})
    with pytest.raises(BadInput, match=r"read as words, which no tokenizer\.json tells"):
        leave(project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_folder_that_answers_otherwise_is_not_handed_out(made, tmp_path, monkeypatch):
    from influence.exchange import pretrained

    bring(made, tmp_path / "p")
    project, read = Project(tmp_path / "p"), pretrained.read_model

    def off(card: Any) -> Any:
        found = read(card)
        with torch.no_grad():
            found.model.classifier.bias += 0.01
        return found

    monkeypatch.setattr(pretrained, "read_model", off)
    with pytest.raises(BadInput, match="answers otherwise than the model, by"):
        leave(project, tmp_path / "out")
    assert not (tmp_path / "out").exists()


# ---- Nothing is believed


def changed(**given: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**told, **given}))

    return change


def without(name: str, instead: str = "") -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        (folder / name).unlink()
        if instead:
            (folder / instead).write_bytes(b"\x80\x02.")

    return change


def written(name: str, text: str) -> Callable[[Path], None]:
    return lambda folder: (folder / name).write_text(text) and None


def tokens(**given: Any) -> Callable[[Path], None]:
    def change(folder: Path) -> None:
        told = json.loads((folder / "tokenizer.json").read_text())
        (folder / "tokenizer.json").write_text(json.dumps({**told, **given}))

    return change


HOSTILE: dict[str, tuple[Callable[[Path], None], str]] = {
    "remote code": (changed(auto_map={"AutoModelForSequenceClassification": "evil.Model"}), "asks for auto_map"),
    "remote code deep inside": (changed(text_config={"auto_map": {"AutoConfig": "evil.Config"}}), "asks for auto_map"),
    "quantised": (changed(quantization_config={"quant_method": "bitsandbytes"}), "asks for quantization_config"),
    "fetched backbone": (changed(backbone="resnet18", use_timm_backbone=True), "fetched from elsewhere"),
    "unknown kind": (changed(model_type="evil"), "ships no classifier of texts or images of that kind"),
    "no kind": (changed(model_type=None), "no JSON object with a model_type"),
    "endless layers": (changed(num_hidden_layers=10**9), "num_hidden_layers is 1,000,000,000"),
    "endless words": (changed(vocab_size=2**40), "vocab_size is"),
    "too large": (changed(hidden_size=2**14, intermediate_size=2**16, num_hidden_layers=200), "can be followed here"),
    "no number": (changed(hidden_size="many"), "cannot be used|can be built"),
    "heads that do not fit": (changed(num_attention_heads=7), "can be built"),
    "config is garbage": (written("config.json", "{"), "no JSON object with a model_type"),
    "config is deep": (written("config.json", "[" * 100_000), "no JSON object with a model_type"),
    "several labels": (changed(problem_type="multi_label_classification"), "several labels"),
    "one name twice": (changed(id2label={"0": "a", "1": "a"}), "two outputs one name"),
    "names that begin at 1": (changed(id2label={"1": "a", "2": "b"}), "by number, from 0"),
    "other names": (changed(id2label={"0": "x", "1": "y"}), "outputs are x, y .* the target holds grim, kind"),
    "an adapter": (written("adapter_config.json", "{}"), "holds an adapter"),
    "a pickle": (without("model.safetensors", "pytorch_model.bin"), "only 'pytorch_model.bin'.*save_pretrained"),
    "no weights": (without("model.safetensors"), "no model.safetensors"),
    "weights are garbage": (written("model.safetensors", "none"), "damaged|of another kind"),
    "another width": (changed(intermediate_size=40), "has shape .* in the weights; the model of config.json needs"),
    "more layers": (changed(num_hidden_layers=3), "lack 16 tensors of the model, such as 'bert.encoder.layer.2"),
    "tokenizer is garbage": (written("tokenizer.json", "{"), "no JSON object"),
    "tokenizer of nothing": (written("tokenizer.json", "{}"), "tokenizer.json cannot be used"),
    "custom tokenizer part": (tokens(pre_tokenizer={"type": "EvilSplit"}), "tokenizer.json cannot be used"),
    "tokenizer with a program": (written("tokenizer_config.json", '{"auto_map": {"AutoTokenizer": "evil"}}'), "program of its own"),
    "only an old tokenizer": (without("tokenizer.json", "vocab.txt"), "only an older form of a tokenizer"),
    "more tokens than the model has": (changed(vocab_size=8), "has shape"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_a_folder_that_is_not_what_it_says_is_refused_in_one_sentence(made, tmp_path, case):
    shutil.copytree(made / "bert", tmp_path / "bert")
    change, said = HOSTILE[case]
    change(tmp_path / "bert")
    (tmp_path / "bert" / "evil.py").write_text("raise SystemExit('ran')")
    with pytest.raises(BadInput, match=said) as caught:
        bring(made, tmp_path / "p", path=str(tmp_path / "bert"))
    assert "\n" not in str(caught.value)
    assert Project(tmp_path / "p").runs() == []


def test_tokens_that_a_model_does_not_have_are_refused(made, tmp_path):
    shutil.copytree(made / "bert", tmp_path / "bert")
    told = json.loads((tmp_path / "bert" / "tokenizer.json").read_text())
    told["model"]["vocab"]["film"] = 5_000
    (tmp_path / "bert" / "tokenizer.json").write_text(json.dumps(told))
    with pytest.raises(BadInput, match="makes token 5,000, and the model has"):
        bring(made, tmp_path / "p", path=str(tmp_path / "bert"))


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"data_set": {}}, "--text COL"), ({"target": ""}, "--target COL"), ({"target": "none"}, "'none' is not a column"),
        ({"data_set": {"text": "text", "length": 500}}, "Choose another length"),
        ({"data_set": {"text": "text", "length": 2}}, "leaves no room"),
    ],
)  # fmt: skip
def test_what_is_missing_is_said(made, tmp_path, given, said):
    with pytest.raises(BadInput, match=said):
        bring(made, tmp_path, **given)


def test_without_the_library_it_is_said_how_to_install_it(made, tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] in ("transformers", "tokenizers")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "transformers", None)
    with pytest.raises(BadInput, match=r"need the transformers library, which is not installed here. .*requirements-text.txt"):
        bring(made, tmp_path)
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(BadInput, match=r"need the tokenizers library, which is not installed here. .*requirements-text.txt"):
        perform(
            "train", Project(tmp_path),
            {"data": str(made / "rows.parquet"), "target": "label", "data_set": {"text": "text", "tokenizer": str(made / "bert")}},
        )  # fmt: skip


def test_a_tokenizer_that_is_brought_reads_for_a_model_trained_here(made, tmp_path):
    project = Project(tmp_path)
    given = {"text": "text", "tokenizer": str(made / "bert")}
    perform("train", project, {"data": str(made / "rows.parquet"), "target": "label", "data_set": given})
    data = project.dataset(project.run().dataset)
    tokenizer = transformers.AutoTokenizer.from_pretrained(made / "bert")
    text = data.train.columns["text"].iloc[0]
    ids = tokenizer(text, truncation=True, max_length=data.train.shape[0])["input_ids"]
    np.testing.assert_array_equal(data.train.x[0][: len(ids)], np.array(ids) + 1)
    assert not data.train.x[0][len(ids) :].any()


def test_a_config_alone_is_trained_from_new_weights(made, tmp_path):
    told = json.loads((made / "bert" / "config.json").read_text())
    project = Project(tmp_path)
    read = {"text": "text", "tokenizer": str(made / "bert")}
    given = {"data": str(made / "rows.parquet"), "target": "label", "data_set": read, "model": "huggingface"}
    perform("train", project, {**given, "set": {"config": json.dumps(told), "epochs": 2}})
    assert project.run().body["recipe"]["optimizer"] == "adamw"
    assert perform("attribute", project, {"query": "loss", "method": "metagradient"})["n"] > 40
    with pytest.raises(BadInput, match="token ids, and the model 9"):
        perform("train", project, {**given, "set": {"config": json.dumps({**told, "vocab_size": 8})}})


# ---- From the hub


def test_from_the_hub_come_only_files_that_are_read(made, tmp_path, monkeypatch):
    hub = pytest.importorskip("huggingface_hub")
    with hugging.stand_in(made / "bert", {"pytorch_model.bin": b"\x80", "evil.py": b"raise"}) as (address, asked):
        whole = hub.snapshot_download
        monkeypatch.setattr(hub, "snapshot_download", lambda name, **given: whole(name, **given, endpoint=address, cache_dir=tmp_path))
        with monkeypatch.context() as small:
            small.setattr("influence.exchange.hub.MOST_BYTES", 1000)
            with pytest.raises(BadInput, match=r"'someone/tiny' has .* GB on the hub"):
                fetched("hub:someone/tiny")
        assert not list(tmp_path.rglob("*.safetensors")), "nothing of it is brought"
        folder = Path(fetched("hub:someone/tiny"))
        assert card_of(folder).classes == ("grim", "kind")
        assert not [path for path in asked if path.endswith((".bin", ".py"))]
        assert {"config.json", "tokenizer.json"} < set(FILES)
    assert Path(fetched("hub:someone/tiny")) == folder, "without a network, what is here already"
    with pytest.raises(BadInput, match=r"could not be had from the hub .*Offline\? .*hf download someone/other --local-dir FOLDER"):
        fetched("hub:someone/other")
    with pytest.raises(BadInput, match="no model of the hub"):
        fetched("hub:../../etc/passwd")
    assert fetched("someone/tiny") == "someone/tiny"
