"""Texts and Hugging Face on public data: how accurate are the models, how long do they take, and how true are their scores?

Run: LETHE_DATA=... python -m benchmarks.texts (or make bench NAME=texts). Writes benchmarks/results/texts.json.

The models of the app train by its usual recipes on SST-2 and on Davidson's posts. A tiny BERT, with a tokenizer of its own, is made on the
last 4,920 rows of SST-2's training part, fine-tuned outside Lethe by Hugging Face's Trainer on the first 2,000 with `recording`, and
brought. Scores are compared with 24 retrainings without 1 % of the rows;
where one training takes long, on the first rows of the training part, and their number is written beside.
"""

from __future__ import annotations

import argparse
import json
import math
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from benchmarks.data import DATA
from influence.actions import perform
from influence.exchange.trainer import recording
from influence.store import Project

RESULTS = Path(__file__).parent / "results" / "texts.json"
FRACTION, SUBSETS = 0.01, 24
METHODS = ("metagradient", "influence_function", "tracin")
SHOWN = ("lds", "lds_low", "lds_high", "slope", "slope_low", "slope_high", "n", "seconds")
SETS = {"sst2": ("sst2.parquet", "label"), "davidson": ("davidson_hate_speech.parquet", "label_name")}
TRUTH_ROWS = {"sst2 bag": 6920, "sst2 transformer": 2000, "davidson bag": 6000, "davidson transformer": 2000}
"""Training rows on which scores are compared with retraining."""
BERT_ROWS, LENGTH, WORDS, WIDTH = 2000, 24, 4000, 32
FIRST = {"epochs": 4, "batch": 64, "lr": 2e-3}
"""How the BERT is made before it is fine-tuned; nobody asks which of those rows matter."""
RECIPE = {
    "num_train_epochs": 2, "per_device_train_batch_size": 50, "learning_rate": 1e-3, "adam_epsilon": 1e-4, "weight_decay": 0.01,
    "warmup_ratio": 0.1,
}  # fmt: skip
"""Of the Trainer, which fine-tunes it. With its usual epsilon, 1e-8, Adam jumps where a word is met first, which no gradient tells."""
NAMES = {0: "negative", 1: "positive"}


def table(name: str, rows: int | None = None) -> pd.DataFrame:
    """Return texts, labels and split; of the training part the first `rows` alone."""
    file, label = SETS[name]
    found = pd.read_parquet(DATA / file).rename(columns={label: "target"})[["text", "target", "split"]]
    found["target"] = found["target"].map(NAMES) if name == "sst2" else found["target"]
    first = found["split"].eq("train").cumsum().le(rows or len(found)) | found["split"].ne("train")
    return found[first].reset_index(drop=True)


def accuracy(metrics: dict[str, Any]) -> dict[str, Any]:
    """Return a run's accuracy on its holdout rows with interval and n."""
    return dict(metrics["intervals"]["accuracy"])


def write(key: str, found: dict[str, Any]) -> None:
    """Put what was measured beside what is there."""
    before = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    RESULTS.write_text(json.dumps(before | {key: found}, indent=1) + "\n", encoding="utf-8")


def compare(project: Project, key: str, found: dict[str, Any], of: dict[str, Any]) -> None:
    """Compare scores of every method for the mean loss with the same retrainings, one by one written into `of`, a part of `found`."""
    of["lds"] = {}
    for method in METHODS:
        told = perform("fidelity", project, {"query": "loss", "method": method, "fraction": FRACTION, "subsets": SUBSETS})
        of["lds"][method] = {name: told[name] for name in SHOWN}
        print(key, method, of["lds"][method], flush=True)
        write(key, found)


def trained(name: str, model: str, folder: Path, rows: int | None = None) -> tuple[Project, dict[str, Any]]:
    """Train as the app does where nothing is chosen; return the project and the figures."""
    home = folder / f"{name}-{model}-{rows or 'all'}"
    home.mkdir()
    made = table(name, rows)
    made.to_parquet(home / "rows.parquet")
    project = Project(home / "project")
    given = {"data": str(home / "rows.parquet"), "target": "target", "split": "split", "data_set": {"text": "text"}, "model": model}
    began = time.process_time()
    result = perform("train", project, given)
    work = time.process_time() - began
    run = project.run(result["run"])
    told = {"rows": result["n_train"], "accuracy": accuracy(result["metrics"]), "seconds": result["seconds"], "of a core": work}
    told["recipe"] = {key: run.body["recipe"][key] for key in ("optimizer", "lr", "eps_root", "batch_size", "epochs")}
    print(home.name, told, flush=True)
    return project, told


def of_the_app(key: str, folder: Path) -> None:
    """Train on all rows, and compare scores with retraining, on fewer where they are many."""
    name, model = key.split()
    project, found = trained(name, model, folder)
    found["compared"] = {"rows": found["rows"]}
    if found["rows"] > TRUTH_ROWS[key]:
        project, found["compared"] = trained(name, model, folder, TRUTH_ROWS[key])
    compare(project, key, found, found["compared"])


class Tokenized(torch.utils.data.Dataset[dict[str, Any]]):
    """Training rows as the Trainer takes them."""

    def __init__(self, rows: pd.DataFrame, reader: Any) -> None:
        self.read = reader(rows["text"].tolist(), truncation=True, max_length=LENGTH)
        self.labels = rows["target"].map({name: place for place, name in NAMES.items()}).tolist()

    def __len__(self) -> int:
        return len(self.labels)

    def __getitem__(self, place: int) -> dict[str, Any]:
        return {**{name: value[place] for name, value in self.read.items()}, "labels": self.labels[place]}


def tokenizer(texts: list[str]) -> Any:
    """Return a WordPiece tokenizer of these texts."""
    import tokenizers
    import transformers
    from tokenizers import models, normalizers, pre_tokenizers, processors, trainers

    made = tokenizers.Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    made.train_from_iterator(texts, trainers.WordPieceTrainer(vocab_size=WORDS, special_tokens=special, show_progress=False))
    made.post_processor = processors.TemplateProcessing(single="[CLS] $A [SEP]", special_tokens=[("[CLS]", 2), ("[SEP]", 3)])
    named = {"pad_token": "[PAD]", "unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    return transformers.PreTrainedTokenizerFast(tokenizer_object=made, model_max_length=LENGTH, **named)


def begun(rows: pd.DataFrame, reader: Any) -> Any:
    """Make the BERT, and train it on these rows by a plain loop."""
    import transformers

    torch.manual_seed(0)
    model = transformers.BertForSequenceClassification(transformers.BertConfig(
        vocab_size=len(reader), hidden_size=WIDTH, num_hidden_layers=2, num_attention_heads=2, intermediate_size=2 * WIDTH,
        max_position_embeddings=LENGTH, id2label=NAMES, label2id={name: k for k, name in NAMES.items()},
    ))  # fmt: skip
    data = Tokenized(rows, reader)
    loader = torch.utils.data.DataLoader(
        data, FIRST["batch"], shuffle=True, collate_fn=transformers.DataCollatorWithPadding(reader)  # type: ignore[arg-type]
    )  # fmt: skip
    rule = torch.optim.AdamW(model.parameters(), lr=FIRST["lr"])
    for _ in range(int(FIRST["epochs"])):
        for batch in loader:
            rule.zero_grad()
            model(**batch).loss.backward()
            rule.step()
    return model


def fine_tuned(rows: pd.DataFrame, folder: Path, recipe: dict[str, Any]) -> Any:
    """Fine-tune a tiny BERT by the Trainer and record it in `folder / "model"`; return the trainer."""
    import transformers

    whole = table("sst2")
    others = whole[whole["split"] == "train"].iloc[BERT_ROWS:]
    reader = tokenizer(others["text"].tolist())
    model = begun(others, reader)
    steps = math.ceil(len(rows) / recipe["per_device_train_batch_size"]) * recipe["num_train_epochs"]
    given = {key: value for key, value in recipe.items() if key != "warmup_ratio"} | {"warmup_steps": round(recipe["warmup_ratio"] * steps)}
    args = transformers.TrainingArguments(
        output_dir=str(folder / "out"), report_to=[], save_strategy="no", use_cpu=True, disable_tqdm=True, logging_strategy="no", **given
    )
    trainer = transformers.Trainer(
        model, args, train_dataset=Tokenized(rows, reader), processing_class=reader,
        data_collator=transformers.DataCollatorWithPadding(reader),
    )  # fmt: skip
    recording(trainer, folder / "model")
    trainer.train()
    return trainer


def brought(folder: Path, rows: int, recipe: dict[str, Any]) -> tuple[Project, dict[str, Any]]:
    """Fine-tune outside, bring it, and compare the answers with the Trainer's own."""
    all_rows = table("sst2", rows)
    all_rows.to_parquet(folder / "rows.parquet")
    began = time.perf_counter()
    trainer = fine_tuned(all_rows[all_rows["split"] == "train"], folder, recipe)
    fine_tuning = time.perf_counter() - began
    said = trainer.predict(Tokenized(all_rows, trainer.processing_class)).predictions
    said = torch.from_numpy(said).softmax(1)[:, 1].numpy()
    project = Project(folder / "project")
    given = {"path": str(folder / "model"), "data": str(folder / "rows.parquet"), "target": "target", "split": "split"}
    result = perform("import_model", project, given | {"data_set": {"text": "text"}})
    mine = pd.read_parquet(result["predictions"])
    return project, {
        "rows": int((all_rows["split"] == "train").sum()),
        "parameters": sum(part.numel() for part in trainer.model.parameters()),
        "recipe": recipe,
        "largest difference of a probability": float(np.abs(mine["p_positive"].to_numpy() - said[mine["id"]]).max()),
        "predictions compared": len(mine),
        "checks": {check["check"]: [check["verdict"], check["found"]] for check in result["checks"]},
        "accuracy": accuracy(result["metrics"]),
        "fine-tuning seconds": fine_tuning,
        "import seconds": result["seconds"],
    }


def bert(folder: Path) -> None:
    """Bring the BERT and compare its scores with retraining."""
    project, found = brought(folder, BERT_ROWS, RECIPE)
    print("bert", found, flush=True)
    compare(project, "bert", found, found)


def main() -> None:
    """Measure what is asked for and write it down beside what was measured before."""
    asked = [*TRUTH_ROWS, "bert"]
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--only", choices=asked, help="one part alone")
    only = parser.parse_args().only
    torch.set_num_threads(1)
    for key in [only] if only else asked:
        with tempfile.TemporaryDirectory() as folder:
            bert(Path(folder)) if key == "bert" else of_the_app(key, Path(folder))


if __name__ == "__main__":
    main()
