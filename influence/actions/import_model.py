"""Bring a model that was trained elsewhere, with its checkpoints and, where it was recorded, the course of its training."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from influence.actions import _checks, _exported, _huggingface
from influence.actions._accuracy import accuracy as _accuracy
from influence.actions._accuracy import refuse_accuracy
from influence.actions._checks import Check, checked
from influence.actions._measures import group_columns
from influence.actions._new_run import new_run
from influence.actions._ordered import guessed, in_order, numbered
from influence.actions.train import dataset_of
from influence.data.arrays import is_arrays
from influence.data.dataset import Dataset
from influence.data.read import told
from influence.data.stated import refuse_unused
from influence.errors import BadInput
from influence.exchange import snippets
from influence.exchange.exported import is_exported
from influence.exchange.hub import fetched
from influence.exchange.matching import AUTO, Match
from influence.exchange.record import Record, read_record
from influence.loop import Loop, cat, threads
from influence.registry import described
from influence.store import Project
from influence.types import Event, Report, Trained, ignore

ENDS = 1e-3
"""How far from the model's weights a training that is run again may end, in units of their size: other sums on another machine."""
MAGNIFIED = (
    "This training magnifies rounding, so that nothing need be missing in its record: two programs that add in another order end apart. "
    "Smaller steps, smooth activations or float64 make one that can be followed."
)


def import_model(
    project: Project,
    path: str,
    data: str,
    target: str = "",
    protected: Sequence[str] = (),
    audit: Sequence[str] = (),
    drop: Sequence[str] = (),
    id: str = "",
    eval: str = "",
    split: str = "",
    test_share: float = 0.2,
    model: str = AUTO,
    set: Mapping[str, Any] | None = None,
    rates: Sequence[float] = (),
    accuracy: float | None = None,
    preprocessing: str = "",
    data_set: Mapping[str, Any] | None = None,
    kinds: Mapping[str, str] | None = None,
    sheet: str = "",
    sql: str = "",
    positive: str = "",
    seed: int = 0,
    name: str = "",
    check_only: bool = False,
    report: Report = ignore,
) -> dict[str, Any]:
    """Read weights and data, see that they belong together, measure, and keep it all as a run (with `check_only`: keep nothing).

    `path`: a folder that `influence.Recorder` or `export_model` wrote, one of Hugging Face (from its hub: "hub:OWNER/NAME"), one file of
    weights, or a folder of checkpoints in order of name, with their step sizes `rates`. `data` and the arguments after it: as for `train`,
    or a folder that `influence.save_data` wrote; an exported model says what is left open. `model`, `set`: the architecture and its
    settings, found from the shapes if left open. `accuracy`: what the model is known to reach on its test rows.

    Returns `run`, `metrics`, and `checks`: rows of {check, verdict, found, mend, code, leak} (`actions/_checks.py`); with `check_only` no
    run and no metrics.

    Raises:
        BadInput: anything given cannot be used, or the model is seen to be another than was trained; nothing is written then.
    """
    began = time.perf_counter()
    refuse_accuracy(accuracy)
    report(Event("read", 0, 3, note="Reading the model"))
    given_as, path = Path(path).name, fetched(path)
    its = _huggingface.opened(path)
    record = its.begun() if its else read_record(path, rates)
    report(Event("read", 1, 3, note="Reading the data"))
    _refuse_model(data)
    columns = {"protected": list(protected), "audit": list(audit), "drop": list(drop), "id": id, "split": split, "test_share": test_share}
    columns["kinds"] = dict(kinds or {})
    asked: dict[str, Any] = {"target": target, "eval": eval, "seed": seed, "data_set": dict(data_set or {})}
    asked = _exported.completed(record.exported, data, asked | columns | {"positive": positive}, sheet)
    columns, positive = {name: asked.pop(name) for name in columns}, asked.pop("positive")
    encoding = its.read(data, asked) if its else _exported.encoding_of(record.exported, preprocessing)
    part = {"sheet": sheet, "query": sql}
    dataset = dataset_of(
        data, **asked, name=name, columns=columns, folder=project.path / "work", report=report, encoding=encoding, part=part
    )
    data = told(data)
    refuse_unused(preprocessing, dataset.encoding)
    if its:
        record = its.answering(record, dataset)
        model, set = its.architecture(model, set or {})
    # Whatever the order of the model's outputs; a card of Hugging Face gives its own to texts before anybody asks.
    positive = (
        positive or dataset.train.positive or (max(dataset.train.classes) if its and dataset.train.classes else dataset.train.favourable)
    )
    dataset = in_order(dataset, record.classes or numbered(data, dataset)).favouring(positive)
    trained, match = record.trained(dataset.train.shape, dataset.train.outputs, model, set)
    report(Event("check", 2, 3, note="Checking"))
    began_again = time.perf_counter()
    trained, followed = _followed(trained, record, dataset, report)
    again = {"train_seconds": time.perf_counter() - began_again} if trained.recipe else {}
    sure = not match.guessed or followed["verdict"] == "good"
    own = [_answers(match, sure), followed, *_accuracy(trained, match, dataset, accuracy, sure), _checks.deterministic(trained, dataset)]
    own += its.checks(dataset) if its else _exported.checks(record.exported, dataset)
    own += [] if its or record.classes else guessed(dataset, data)
    data_checks = [*_checks.sizes(dataset), *_checks.divided(dataset), *_checks.suspected(dataset)]
    checks = [*data_checks, _checks.runs(trained.model, dataset), *own, *_checks.methods(trained)]
    if check_only:
        return {"run": "", "model": described(trained.model), "checks": checks, "seconds": time.perf_counter() - began}
    given = {"data": data, "model": model, "set": dict(set or {}), "rates": list(rates), "preprocessing": preprocessing, **asked, **columns}
    given |= {"sheet": sheet, "sql": sql, "positive": positive}
    source = {"data": data, "target": dataset.target, "model": given_as}
    run, body = new_run(
        project, "import", dataset, trained, settings={**given, "path": given_as, "accuracy": accuracy},
        extra={"source": source, "groups": list(group_columns(dataset)), "checks": checks, **again},
        seconds=time.perf_counter() - began, name=name,
    )  # fmt: skip
    return {
        "run": run,
        "model": body["model"],
        "checks": checks,
        "metrics": body["metrics"],
        "evaluation_metrics": body["evaluation_metrics"],
        "predictions": str(project.table_path(body["predictions"])),
        "seconds": body["seconds"],
    }


def _refuse_model(data: str) -> None:
    folder = Path(data)
    if not is_arrays(data) and ((folder / "record.json").is_file() or is_exported(folder)):
        raise BadInput(f"{folder.name!r} is a model, not data. Give the folder that influence.save_data wrote, or a table.")


def _answers(match: Match, sure: bool) -> Check:
    what = "Answers as where it was trained"
    if match.off is not None:
        said = "to the bit" if not match.off else f"to {match.off:.1g} of the answers' size"
        return checked(what, "good", f"{said}, on the inputs that came with it.")
    if getattr(match.model, "graph", ""):
        mend = "Say what it reached where it was trained (--accuracy): a difference shows inputs or classes gone wrong."
        return checked(what, "none", "it came as a graph of its own operations, so that nothing of it was guessed.", mend)
    said = "no probe came with it: only the shapes are known to fit."
    mend = "Bring a few inputs with the answers that it gave there: recorder.save(folder, probe=x)."
    if sure:
        return checked(what, "none", said, mend)
    found = f"{said} Weights do not tell {', '.join(match.guessed)}: taken as {match.settings()}."
    other = f", for example --set {match.others[0].settings(' --set ')} if it was" if match.others else ""
    return checked(what, "doubtful", found, f"Say what it was (--set, or Settings on the page){other}. Or b{mend[1:]}")


def _followed(trained: Trained, record: Record, dataset: Dataset, report: Report) -> tuple[Trained, Check]:
    """Run the recorded training again; return the model with its recipe if that ends where the model is, else without."""
    what = "Its training can be followed"
    if trained.recipe is None:
        return trained, checked(
            what, "none", record.no_recipe, "Record it, for the metagradient, previews and retraining.", snippets.RECORDER
        )
    without = replace(trained, recipe=None)
    try:
        there = _end(trained, dataset, report)
    except BadInput as error:
        return without, checked(what, "doubtful", str(error), "Bring the rows and ids of the record.", snippets.DATA)
    end = trained.final.load()
    wanted = cat([end[name] for name in there[1]]).to(there[0])
    off = float((there[0] - wanted).norm() / wanted.norm().clamp(min=1e-12))
    if off <= ENDS:
        return trained, checked(what, "good", f"run again, it ends at the model's weights, to {off:.1g} of their size.")
    said = f"run again, it ends {off:.1%} of the weights' size away from the model."
    shaken = float((_end(trained, dataset, report, shake=True)[0] - there[0]).norm() / wanted.norm().clamp(min=1e-12))
    if shaken >= off / 10:
        found = f"{said} Begun with weights that differ by their rounding alone it ends {shaken:.1%} away from itself."
        return without, checked(what, "doubtful", found, MAGNIFIED)
    mend = "The loop does something that was not recorded: another loss, clipping (max_norm=...), inputs that change, or other rows."
    return without, checked(what, "doubtful", said, mend, snippets.RECORDER)


def _end(trained: Trained, dataset: Dataset, report: Report, shake: bool = False) -> tuple[torch.Tensor, list[str]]:
    """Run the recorded training again; return the weights where it ends, (P,), and their names. `shake`: from weights rounded otherwise."""
    assert trained.recipe is not None
    with threads(trained.recipe.threads):
        loop = Loop.of(trained.model, dataset.train, trained.recipe, None, trained.removed)
        if shake:
            signs = torch.randint(0, 2, loop.bound.flat.shape, generator=torch.Generator().manual_seed(0)).to(loop.bound.flat) * 2 - 1
            loop.bound.flat.mul_(1 + signs * torch.finfo(loop.bound.flat.dtype).eps)
        loop.bound.module.train()
        loop.run(0, len(loop.batches), lambda t: report(Event("follow", t, len(loop.batches))) if t % 64 == 0 else None)
    return loop.bound.flat, list(loop.bound.names)
