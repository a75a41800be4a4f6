"""Write a model of the project, an unlearned one too, into a folder that anybody can use and that can be brought again."""

from __future__ import annotations

import hashlib
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np

from influence.actions._leaving import leaving, place
from influence.actions._opened import Opened, opened
from influence.actions._requests import requests
from influence.actions._untouched import touched
from influence.actions.report import data_of, model_of
from influence.errors import BadInput
from influence.evidence import card, words
from influence.evidence.investigation import Entry
from influence.exchange.course import write_course
from influence.exchange.exported import LISTS, PARTS, PROBE, TOLD, WEIGHTS, Exported, write_exported
from influence.exchange.graph import write_graph
from influence.exchange.huggingface import CONFIG
from influence.exchange.pretrained import PIXELS, READING, TOKENIZER, write_pretrained
from influence.store import Project, Record
from influence.types import Event, Report, ignore, leaves

FORMATS = ("safetensors", "pt2", "record", "huggingface")
OPENED = "huggingface"
"""The format that the transformers library opens by itself."""
GRAPH, CARD = "model.pt2", "README.md"
ROWS = 1000
"""Holdout rows on which a graph is compared with the model."""
FILES = {
    WEIGHTS: "the weights, under the architecture's own names",
    TOLD: "the architecture and its settings, inputs, outputs, classes in order, and how raw columns become inputs",
    PROBE: "inputs drawn at random, no rows of anybody's, and the model's answers to them: a wrong import is seen by them",
    GRAPH: "the model as a graph of PyTorch's operations: `torch.export.load('model.pt2').module()(x)`",
    CONFIG: "the kind of model with its settings, and the classes in the order of its outputs (`id2label`)",
    TOKENIZER: "the tokenizer, as it was brought",
    READING: "how many tokens of a text are read, and at which side it is cut",
    PIXELS: "the size of images, and by what they are normalised",
    "record.json": "the recipe, the checkpoints and the course of the training, by which it can be followed; names the ids of removed rows",
}
USE = """To use it, with Lethe in your path:

```python
import influence

model = influence.load_model("this folder")
model.predict(rows)  # a table with the raw columns
```

To ask which rows it comes from: `python -m influence import-model THIS_FOLDER DATA`."""
OPENING = """To use it, with the transformers library:

```python
from transformers import {model}, {reader}

reader = {reader}.from_pretrained("this folder")
model = {model}.from_pretrained("this folder").eval()
model(**reader({given})).logits
```

To ask which rows it comes from: `python -m influence import-model THIS_FOLDER DATA{column}`."""
OF_TEXTS = {
    "model": "AutoModelForSequenceClassification", "reader": "AutoTokenizer", "column": " --text COLUMN --target COLUMN",
    "given": 'texts, padding=True, truncation=True, return_tensors="pt"',
}  # fmt: skip
OF_IMAGES = {
    "model": "AutoModelForImageClassification", "reader": "AutoImageProcessor", "given": 'images, return_tensors="pt"', "column": "",
}  # fmt: skip
APPROXIMATE = "It was made from another model (claim {claim}); its weights do not follow from a recipe."


def export_model(
    project: Project, out: str = "", run: str | None = None, format: str = "safetensors", report: Report = ignore
) -> dict[str, Any]:
    """Write weights, `model.json`, a model card and a probe into the new folder `out`, or as a zip into the project's `exports/`.

    `format`: "pt2" adds the model's graph for PyTorch alone, compared with the model on holdout rows; "record" adds its training, which can
    be followed where it is brought. "huggingface", of a model of Hugging Face: the folder that the transformers library opens by itself.

    Returns `path`, `files` (name: SHA-256), `run`, `claim`, `removed` (how many rows).

    Raises:
        BadInput: there is no such run or format, `out` exists or cannot be written, or the model has no graph.
    """
    began = time.perf_counter()
    if format not in FORMATS:
        raise BadInput(f"There is no format {format!r}; there are: {', '.join(FORMATS)}.")
    it = opened(project, run)
    name = f"{it.run.id}-{format}"
    with leaving(project, out, name) as folder:
        files = fill(it, folder, format, report)
    path = place(project, out, f"{name}.zip")
    project.record(
        "export_model",
        inputs={"run": it.run.id},
        settings={"format": format},
        measures={"files": files},
        seconds=time.perf_counter() - began,
    )
    claim = it.run.body["claim"]
    return {"path": str(path), "files": files, "run": it.run.id, "claim": claim, "removed": len(it.trained.removed), "format": format}


def fill(it: Opened, folder: Path, format: str, report: Report = ignore) -> dict[str, str]:
    """Write a model with its card into an empty folder; return the files with their SHA-256.

    Raises:
        BadInput: it cannot be written so.
    """
    report(Event("export", 0, 3, note="Writing the model"))
    if format == OPENED:
        write_pretrained(folder, it.trained.model, it.trained.final.load(), it.dataset.encoding, _tried(it))
    else:
        write_exported(folder, _described(it), it.trained.final.load(), leaves(it.dataset.holdout.x)[0], **_facts(it))
        report(Event("export", 1, 3, note="Writing what was asked beside it"))
        _beside(it, folder, format)
    report(Event("export", 2, 3, note="Writing the card"))
    (folder / CARD).write_text(card.render(_card(it, folder, format)), encoding="utf-8")
    files = {path.name: _sha256(path) for path in sorted(folder.iterdir())}
    report(Event("export", 3, 3))
    return files


def _described(it: Opened) -> Exported:
    if it.dataset.encoding.get("target") is None:
        raise BadInput(f"Run {it.run.id} does not know what its target is, so that nobody could use it. Train or bring it again.")
    settings = origin(it.project, it.run.id).body["settings"]
    data = {name: settings.get(name) or "" for name in PARTS} | {name: list(settings.get(name) or ()) for name in LISTS}
    data |= {name: settings[name] for name in ("test_share", "seed", "data_set", "kinds") if settings.get(name)}
    data |= {
        "positive": it.dataset.train.favourable,
        "name": it.dataset.name,
        "target": it.dataset.target,
        "digest": it.run.dataset,
        "eval": "",
    }
    claim = {"level": it.run.body["claim"], "removed": len(it.trained.removed)}
    dtype = it.trained.recipe.dtype if it.trained.recipe else "float32"
    return Exported(it.trained.model, it.dataset.encoding, dtype, data, claim)


def origin(project: Project, run: str) -> Record:
    """Return the record of the run from which a run was made in the beginning: how its data were read.

    Raises:
        BadInput: the ledger has none.
    """
    first = project.run(run)
    while first.parent:
        first = project.run(first.parent)
    return _record(project, first.id)


def _record(project: Project, run: str) -> Record:
    found = next((r for r in project.records() if r.body["outputs"].get("run") == run), None)
    if found is None:
        raise BadInput(f"The ledger has no record of run {run}: the project was changed from outside. Bring it back from a backup.")
    return found


def _facts(it: Opened) -> dict[str, Any]:
    """Return what `model.json` says for people."""
    record = _record(it.project, it.run.id)
    versions = {name: record.body["environment"].get(name, "") for name in ("lethe", "torch", "numpy", "pandas")}
    run = {"id": it.run.id, "kind": it.run.kind, "created": it.run.created, "record": record.hash}
    return {"classes": list(it.dataset.train.classes), "run": run, "versions": versions}


def _beside(it: Opened, folder: Path, format: str) -> None:
    state = it.trained.final.load()
    if format == "pt2":
        write_graph(it.trained.model, state, _tried(it), folder / GRAPH)
    if format == "record":
        claim = it.trained.claim
        shards = it.trained.recipe.in_shards("A record", "another format") if it.trained.recipe else ""
        reason = shards if claim in ("trained", "L2") else APPROXIMATE.format(claim=claim)
        write_course(folder, it.trained, state, reason)


def _tried(it: Opened) -> np.ndarray:
    """Return the holdout rows on which what was written is compared with the model, (n, *shape)."""
    return np.asarray(leaves(it.dataset.holdout.take(np.arange(min(ROWS, len(it.dataset.holdout)))).x)[0])


def _card(it: Opened, folder: Path, format: str) -> card.Card:
    body, dataset = it.run.body, it.dataset
    target, classes = words.escaped(dataset.target), ", ".join(map(words.escaped, dataset.train.classes))
    record, metrics = _record(it.project, it.run.id), body["metrics"]
    there = {path.name for path in folder.iterdir()}
    return card.Card(
        title=f"{dataset.name}: {words.called(it.run)}",
        created=datetime.now(UTC).isoformat(timespec="seconds"),
        predicts=f"{target}, one of {classes}" if classes else f"{target}, a number",
        data=data_of(it),
        model=model_of(it),
        claim=body["claim"],
        claim_note=body.get("claim_note", ""),
        method=body.get("method", {}).get("name", ""),
        removed=len(it.trained.removed),
        relabelled=it.run.body.get("n_relabelled", 0),
        requests=requests(it.project, it.run),
        touched=touched(it.project, it.run),
        overall=metrics["intervals"],
        gaps=metrics["gaps"],
        groups=metrics["groups"],
        record=Entry(record.seq, record.kind, record.created, record.hash, record.prev),
        files={name: what for name, what in FILES.items() if name in there},
        use=_opening(it) if format == OPENED else USE,
    )


def _opening(it: Opened) -> str:
    """Return how the transformers library opens the folder, and what its outputs are where the target is a number."""
    images, goal = it.dataset.encoding.get("kind") == "image", it.dataset.encoding.get("target") or {}
    said = OPENING.format(**(OF_IMAGES if images else OF_TEXTS))
    scaled = not it.dataset.train.classes and (goal.get("mean"), goal.get("sd")) != (0.0, 1.0)
    return said + (f"\n\nThe target is its output times {goal['sd']:.9g} plus {goal['mean']:.9g}." if scaled else "")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
