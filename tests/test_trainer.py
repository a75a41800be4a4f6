"""Fine-tunings by Hugging Face's Trainer: recorded beside it, followed here to the same weights, and why some cannot be."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch

from influence.actions import perform
from influence.errors import BadInput
from influence.exchange.record import read_record
from influence.store import Project
from influence.training import train
from tests import hugging

transformers = pytest.importorskip("transformers", exc_type=ImportError)
pytest.importorskip("accelerate", exc_type=ImportError)
pytestmark = pytest.mark.filterwarnings("ignore::UserWarning:torch.utils.data", "ignore::DeprecationWarning")


class Tokenized(torch.utils.data.Dataset):
    """Rows as a person prepares them for the Trainer, with a column that the model does not take."""

    def __init__(self, table: pd.DataFrame, reader: Any, classes: list[str], length: int = 16) -> None:
        self.read = reader(table["text"].tolist(), truncation=True, max_length=length)
        self.labels = [classes.index(label) for label in table["label"]]

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, i: int) -> dict[str, Any]:
        return {**{name: value[i] for name, value in self.read.items()}, "labels": self.labels[i], "note": "not for the model"}


def trainer_on(folder: Path, table: pd.DataFrame, names: dict[int, str] | None = None, **given: Any) -> Any:
    """A Trainer of a tiny BERT on the training rows of a table, which is written beside it."""
    table.to_parquet(folder / "rows.parquet")
    mine = table[table["split"] == "train"]
    reader = hugging.tokenizer(mine["text"].tolist(), 32)
    model = hugging.bert(len(reader), names or dict(enumerate(hugging.LABELS)), 32, **given.pop("model", {}))
    usual = {
        "num_train_epochs": 2, "per_device_train_batch_size": 8, "learning_rate": 3e-3, "weight_decay": 0.05, "warmup_steps": 3,
        "report_to": [], "save_strategy": "no", "use_cpu": True, "disable_tqdm": True, "logging_strategy": "no",
    }  # fmt: skip
    args = transformers.TrainingArguments(output_dir=str(folder / "out"), **usual | given.pop("args", {}))
    rows = Tokenized(mine, reader, [name.lower() for name in model.config.label2id])
    together = transformers.DataCollatorWithPadding(reader)
    return transformers.Trainer(
        model, args, train_dataset=rows, eval_dataset=rows, processing_class=reader, data_collator=together, **given,
    )  # fmt: skip


def table(n: int = 60) -> pd.DataFrame:
    return hugging.rows(n).assign(split=np.where(np.arange(n) < 3 * n // 4 - 2, "train", "test"))


def record(trainer: Any, folder: Path, **given: Any) -> Path:
    from influence.exchange.trainer import recording

    recording(trainer, folder / "model", **given)
    trainer.train()
    return folder / "model"


def bring(folder: Path, **given: Any) -> tuple[Project, dict[str, Any]]:
    project = Project(folder / "project")
    args = {"path": str(folder / "model"), "data": str(folder / "rows.parquet"), "target": "label", "split": "split"}
    return project, perform("import_model", project, args | {"data_set": {"text": "text"}} | given)


def verdicts(result: dict[str, Any]) -> dict[str, str]:
    return {check["check"]: check["verdict"] for check in result["checks"]}


def test_a_fine_tuning_is_followed_to_the_same_weights(tmp_path):
    trainer = trainer_on(tmp_path, table(), args={"eval_strategy": "epoch"})
    record(trainer, tmp_path, checkpoints=3)
    assert {"config.json", "tokenizer.json", "record.json", "course.npz"} < {path.name for path in (tmp_path / "model").iterdir()}
    project, result = bring(tmp_path)
    assert verdicts(result)["Answers as where it was trained"] == "good"
    assert verdicts(result)["Its training can be followed"] == "good"
    run = project.run(result["run"])
    trained, rows = project.trained(run.id), project.dataset(run.dataset).train
    end, real = train(trained.model, rows, trained.recipe).final.load(), trainer.model.state_dict()
    assert set(end) == set(real)
    told = [name for name in real if not name.endswith("key.bias")]  # softmax cancels it: Adam scales up the rounding of a gradient of 0
    for name, value in ((name, real[name]) for name in told):
        torch.testing.assert_close(end[name], value, rtol=1e-3, atol=1e-5, msg=lambda said, name=name: f"{name}: {said}")
    recipe = trained.recipe
    assert (recipe.optimizer, recipe.weight_decay, recipe.decayed, recipe.max_norm) == ("adamw", 0.05, "matrices", 1.0)
    assert (recipe.batch_size, recipe.epochs) == (8, 2)
    course = recipe.went.load()
    assert course["sizes"].tolist() == [8, 8, 8, 8, 8, 3] * 2, "the last batch of an epoch is a small one"
    for epoch in np.split(course["places"], 2):
        np.testing.assert_array_equal(np.sort(epoch), np.arange(43))
    assert len(set(course["widths"].tolist())) > 1, "batches are as wide as their longest text"
    assert perform("attribute", project, {"query": "loss", "method": "metagradient"})["n"] == 43


def test_rows_that_are_told_wrongly_are_seen(tmp_path):
    folder = record(trainer_on(tmp_path, table()), tmp_path)
    with np.load(folder / "course.npz") as file:
        course = dict(file)
    np.savez(folder / "course.npz", **{**course, "places": np.roll(course["places"], 8)})  # each batch told as that before it
    project, result = bring(tmp_path)
    assert verdicts(result)["Its training can be followed"] == "doubtful"
    assert project.trained(result["run"]).recipe is None


def test_ids_of_rows_are_those_of_the_table(tmp_path):
    rows = table()
    rows["key"] = [f"r{k}" for k in range(len(rows))]
    record(trainer_on(tmp_path, rows), tmp_path, ids=rows.loc[rows["split"] == "train", "key"].to_numpy(dtype=str))
    _, result = bring(tmp_path, id="key")
    assert verdicts(result)["Its training can be followed"] == "good"


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"args": {"gradient_accumulation_steps": 2}}, "accumulated gradients"),
        pytest.param({"args": {"bf16": True}}, "mixed precision", marks=pytest.mark.slow),
        pytest.param({"args": {"label_smoothing_factor": 0.1}}, "smoothed the labels", marks=pytest.mark.slow),
        pytest.param({"args": {"neftune_noise_alpha": 5.0}}, "noise", marks=pytest.mark.slow),
        ({"args": {"optim": "adafactor"}}, "The optimiser is Adafactor"),
        ({"compute_loss_func": lambda outputs, labels, num_items_in_batch=None: outputs.logits.square().mean()}, "loss is its own"),
    ],
)
def test_why_a_training_cannot_be_followed_is_said_and_the_weights_still_come(tmp_path, given, said):
    folder = record(trainer_on(tmp_path, table(), **given), tmp_path)
    assert said in read_record(folder).no_recipe
    project, result = bring(tmp_path)
    found = {check["check"]: check for check in result["checks"]}
    assert found["Its training can be followed"]["verdict"] == "none"
    assert said in found["Its training can be followed"]["found"]
    assert perform("attribute", project, {"query": "loss", "method": "tracin"})["n"] == 43


def test_what_cannot_be_recorded_is_refused_before_training(tmp_path):
    from influence.exchange.trainer import recording

    trainer = trainer_on(tmp_path, table())
    (tmp_path / "there").mkdir()
    with pytest.raises(BadInput, match="exists already"):
        recording(trainer, tmp_path / "there")
    with pytest.raises(BadInput, match="3 ids were given for 43 training rows"):
        recording(trainer, tmp_path / "model", ids=[1, 2, 3])
    twice = trainer_on(tmp_path, table(), args={"max_steps": 1})
    record(twice, tmp_path)
    with pytest.raises(BadInput, match="record of each training"):
        twice.train()
    (tmp_path / "model").rename(tmp_path / "first")
    trainer.args.train_sampling_strategy = "group_by_length"
    with pytest.raises(BadInput, match="train_sampling_strategy"):
        recording(trainer, tmp_path / "model")
    trainer.args.train_sampling_strategy, trainer.train_dataset = "random", None
    with pytest.raises(BadInput, match="no training rows that can be counted"):
        recording(trainer, tmp_path / "model")


def sst2(folder: Path, n: int, tests: int) -> pd.DataFrame:
    rows = pd.read_parquet(folder / "sst2.parquet")
    parts = [rows[rows["split"] == "train"].head(n), rows[rows["split"] == "dev"].head(tests)]
    named = pd.concat(parts, ignore_index=True)
    return named.assign(label=named["label"].map({0: "negative", 1: "positive"}), split=named["split"].replace("dev", "test"))


def test_sst2_fine_tuned_outside_is_followed(lethe_data, tmp_path):
    record(trainer_on(tmp_path, sst2(lethe_data, 400, 100), {0: "NEGATIVE", 1: "POSITIVE"}), tmp_path)
    project, result = bring(tmp_path)
    assert verdicts(result)["Its training can be followed"] == "good"
    assert verdicts(result)["Order of the outputs"] == "good"
    assert project.dataset(project.run().dataset).train.classes == ("negative", "positive")


@pytest.mark.slow
def test_the_metagradient_foretells_what_a_fine_tuning_without_rows_would_do(lethe_data, tmp_path):
    """Leave-1 %-out: rank correlation of predicted and real changes over 24 retrainings of a recorded fine-tuning on SST-2."""
    from benchmarks import texts

    project, told = texts.brought(tmp_path, texts.BERT_ROWS, texts.RECIPE)
    assert told["checks"]["Its training can be followed"][0] == "good"
    assert told["largest difference of a probability"] < 1e-6
    assert told["accuracy"]["low"] > 0.6
    found = perform("fidelity", project, {"query": "loss", "method": "metagradient", "fraction": 0.01, "subsets": 24})
    print(f"LDS {found['lds']:.3f} ({found['lds_low']:.3f} to {found['lds_high']:.3f}), slope {found['slope']:.2f}")
    assert found["lds"] >= 0.9
