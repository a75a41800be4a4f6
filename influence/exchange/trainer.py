"""Record a fine-tuning by Hugging Face's Trainer, so that it can be followed step by step: it runs in your process, beside your own code.

    from influence.exchange.trainer import recording

    trainer = Trainer(model=model, args=args, train_dataset=rows, ...)
    recording(trainer, "my-model")
    trainer.train()

At the end there is a folder with the record, config.json and, if the trainer knows it, tokenizer.json: what `import-model` takes. Which
rows a step saw travels with the batch itself, since loaders fetch batches before they are used.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset, IterableDataset

from influence.errors import BadInput
from influence.exchange.recorder import Recorder
from influence.models._transformers import library

PLACES = "lethe_places"
PROBED = 4
LOSSES = {None: "cross_entropy", "single_label_classification": "cross_entropy", "regression": "squared"}


def recording(
    trainer: Any, folder: str | Path, ids: Sequence[Any] | np.ndarray | None = None, *, seed: int = 0, checkpoints: int = 5
) -> Any:
    """Record the next `trainer.train()` into a new folder; return the callback that does it.

    `ids`: of the rows of `trainer.train_dataset`, in order; numbered from 0 if there are none. `seed`: of what the model draws in each step
    (dropout). `checkpoints`: how many are kept for TracIn; up to twice as many are held in memory while it trains.

    Raises:
        BadInput: the folder exists, or the training rows cannot be told apart.
    """
    if Path(folder).exists():
        raise BadInput(f"{str(folder)!r} exists already. Choose a new folder for the record.")
    rows = trainer.train_dataset
    if rows is None or isinstance(rows, IterableDataset) or not hasattr(rows, "__len__"):
        raise BadInput("The trainer has no training rows that can be counted. Give it a train_dataset with a length.")
    names = np.arange(len(rows)) if ids is None else np.asarray(ids)
    if len(names) != len(rows):
        raise BadInput(f"{len(names):,} ids were given for {len(rows):,} training rows. Give one for each, in order.")
    if getattr(trainer.args, "train_sampling_strategy", "random") not in ("random", "sequential"):
        raise BadInput("Rows that are sorted into batches by their length cannot be recorded. Set train_sampling_strategy='random'.")
    watch = _Watch(trainer, Path(folder), names, seed, checkpoints)
    trainer.train_dataset = _Rows(rows)
    trainer.data_collator = _Collator(trainer.data_collator, _wanted(trainer))
    trainer.training_step = watch.stepping(trainer.training_step)
    callback = type("Recording", (library().TrainerCallback,), {name: getattr(watch, name) for name in EVENTS})()
    trainer.add_callback(callback)
    return callback


def _wanted(trainer: Any) -> set[str] | None:
    """Return the columns that the model takes, which alone the trainer hands on; None: all."""
    if not trainer.args.remove_unused_columns:
        return None
    return {*inspect.signature(trainer.model.forward).parameters, "label", "label_ids", *trainer.label_names}


@dataclass(frozen=True)
class _Row:
    """A training row and its place; no dictionary, so that the trainer does not look into it."""

    place: int
    row: Any


class _Rows(Dataset[_Row]):
    """Training rows that say where they stand."""

    def __init__(self, rows: Any) -> None:
        self.rows = rows

    def __len__(self) -> int:
        return len(self.rows)

    def __getitem__(self, place: int) -> _Row:
        return _Row(place, self.rows[place])


@dataclass(frozen=True)
class _Collator:
    """A collator that lets rows say their places in the batch that it makes of them."""

    inner: Any
    wanted: set[str] | None

    def __call__(self, rows: list[Any]) -> Any:
        """Return the batch."""
        if not all(isinstance(row, _Row) for row in rows):
            return self.inner(rows)
        batch = self.inner([self._kept(row.row) for row in rows])
        batch[PLACES] = torch.tensor([row.place for row in rows])
        return batch

    def _kept(self, row: Any) -> Any:
        if self.wanted is None or not isinstance(row, Mapping):
            return row
        return {name: value for name, value in row.items() if name in self.wanted}


class _Recorder(Recorder):
    """A recorder of a model that takes its inputs by name.

    `reason`: why its training cannot be followed, if the trainer's settings say so. `tokenizer`: what made texts into its inputs.
    """

    reason = ""
    tokenizer: Any = None

    def recipe(self) -> tuple[Any, str]:
        """Return how this training can be run again, or None and why it cannot."""
        return (None, self.reason) if self.reason else super().recipe()

    def answers(self, probe: Any) -> torch.Tensor:
        """Return the model's outputs, in its own precision: accelerate wraps the forward of the instance."""
        model: Any = self.model
        logits: torch.Tensor = type(model).forward(model, **{name: value.to(model.device) for name, value in probe.items()}).logits
        return logits

    def hints(self) -> dict[str, Any]:
        """Return the longest text that a step saw, in tokens: longer ones were cut to it."""
        return {"length": max(self.widths)} if any(self.widths) else {}

    def _write(self, folder: Path, probe: Any, classes: list[str]) -> None:
        super()._write(folder, probe, classes)
        config: Any = self.model.config
        (folder / "config.json").write_text(config.to_json_string(), encoding="utf-8")
        if hasattr(self.tokenizer, "save_pretrained"):
            self.tokenizer.save_pretrained(folder)


EVENTS = ("on_train_begin", "on_step_end", "on_train_end")


class _Watch:
    """What happens at the trainer's events."""

    def __init__(self, trainer: Any, folder: Path, ids: np.ndarray, seed: int, checkpoints: int) -> None:
        self.trainer, self.folder = trainer, folder
        self.given: dict[str, Any] = {"ids": ids, "seed": seed, "checkpoints": checkpoints}
        self.recorder: _Recorder | None = None
        self.open = ExitStack()
        self.probe: dict[str, torch.Tensor] = {}

    def on_train_begin(self, args: Any, state: Any, control: Any, optimizer: Any = None, **more: Any) -> None:
        """Look where training begins.

        Raises:
            BadInput: the folder is there by now; better said before the training than after it.
        """
        if self.folder.exists():
            raise BadInput(f"{str(self.folder)!r} exists already. Choose a new folder for the record of each training.")
        rule = getattr(optimizer, "optimizer", optimizer)  # accelerate wraps it
        self.recorder = _Recorder(self.trainer.model, rule, max_norm=float(args.max_grad_norm or 0.0), **self.given)
        self.recorder.tokenizer = getattr(self.trainer, "processing_class", None)
        self.recorder.reason = unfollowed(self.trainer)
        if state.global_step:
            self.recorder.reason = "It went on from a checkpoint, and its first steps are not known. Train in one go."

    def stepping(self, inner: Any) -> Any:
        """Return the trainer's step, which begins a step of the record."""

        def training_step(model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
            places = inputs.pop(PLACES)
            assert self.recorder is not None
            if not self.probe:
                shown = {name: value[:PROBED].detach().cpu() for name, value in inputs.items() if isinstance(value, torch.Tensor)}
                self.probe = {name: value for name, value in shown.items() if name not in self.trainer.label_names}
            self.open.close()  # of several batches to a step, each is one of the record, which is not followed then
            self.open.enter_context(self.recorder.step(places, width=inputs["input_ids"].shape[1] if "input_ids" in inputs else 0))
            return inner(model, inputs, *rest, **more)

        return training_step

    def on_step_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """End the step of the record: the optimiser has moved the weights."""
        self.open.close()

    def on_train_end(self, args: Any, state: Any, control: Any, **more: Any) -> None:
        """Write the folder."""
        self.open.close()
        assert self.recorder is not None
        kind = getattr(self.trainer.model.config, "problem_type", None)
        self.recorder.loss = LOSSES.get(kind, "cross_entropy")
        if kind not in LOSSES:
            self.recorder.reason = (
                self.recorder.reason or f"Its loss is that of {kind}; one class or one number of each row can be followed."
            )
        self.recorder.save(self.folder, probe=self.probe or None, classes=names_of(self.trainer.model.config))


def names_of(config: Any) -> tuple[str, ...]:
    """Return the names of the classes that a model's settings tell, in the order of its outputs; none if they are numbered only."""
    told = {int(place): str(name) for place, name in (getattr(config, "id2label", None) or {}).items()}
    names = tuple(told.get(place, "") for place in range(len(told)))
    return () if len(told) < 2 or any(name in ("", f"LABEL_{place}") for place, name in enumerate(names)) else names


def unfollowed(trainer: Any) -> str:
    """Return why a training by this trainer's settings cannot be followed, or ""."""
    args, usual = trainer.args, library().Trainer
    mixed = args.fp16 or args.bf16
    many = args.world_size > 1 or args.n_gpu > 1
    reasons = {
        "It accumulated gradients over several batches, each with draws and a mean of its own; a step can be followed as one batch only. "
        "Train with gradient_accumulation_steps=1 and a larger batch.": args.gradient_accumulation_steps > 1,
        "It computed in mixed precision, which rounds otherwise than a training that is run again. Train in float32.": mixed,
        "It ran on several devices, each with batches and draws of its own. Train on one.": many,
        "It smoothed the labels; a loss of the given labels can be followed. Set label_smoothing_factor=0.": args.label_smoothing_factor
        > 0,
        "It added noise to the embeddings (neftune_noise_alpha), which cannot be drawn again. Leave it out.": bool(
            args.neftune_noise_alpha
        ),
        "Its loss is its own (compute_loss); the model's own loss can be followed.": trainer.compute_loss_func is not None
        or type(trainer).compute_loss is not usual.compute_loss,
    }
    return next((reason for reason, so in reasons.items() if so), "")
