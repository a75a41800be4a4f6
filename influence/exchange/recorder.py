"""Record a training loop outside Lethe, so that it can be followed step by step: it runs in your process, beside your own code.

    recorder = influence.Recorder(model, optimizer, ids)
    for epoch in range(epochs):
        for x, y, i in loader:                 # i: the places of these rows among the training rows
            with recorder.step(i):
                loss = F.cross_entropy(model(x), y)
                optimizer.zero_grad(); loss.backward(); optimizer.step()
    recorder.save("my-model")

What is written are numbers and one JSON file; nothing in it is ever executed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import nn

from influence.errors import BadInput
from influence.files import whole_folder
from influence.keyed import keys
from influence.optim import step_sizes
from influence.registry import build
from influence.types import Recipe

FORMAT = 1
CLEAR = 1024
"""Seeds of draws that are computed at a time."""
SCHEDULES = ("constant", "linear", "cosine", "step", "exponential", "polynomial", "one_cycle")


class Recorder:
    """Watches a loop over `torch.optim` steps: where it began, which rows each step saw, the step sizes, and a few checkpoints.

    Args:
        model: the module that is trained, before its first step.
        optimizer: SGD, Adam or AdamW over all parameters of the model, with one setting for all; AdamW may spare biases and scales decay.
        ids: of the training rows, (N,), distinct whole numbers or text; `step` names places among them.
        loss: the loss of a batch is the mean of this over its rows.
        seed: of what the model draws in each step (dropout), which is seeded so that it can be drawn again.
        checkpoints: how many are kept at least for TracIn, evenly over the steps.
        max_norm: the norm to which your loop clips the gradient, 0 if it does not.

    Raises:
        BadInput: ids repeat.
    """

    def __init__(
        self,
        model: nn.Module,
        optimizer: torch.optim.Optimizer,
        ids: Sequence[Any] | np.ndarray,
        loss: str = "cross_entropy",
        seed: int = 0,
        checkpoints: int = 5,
        max_norm: float = 0.0,
    ) -> None:
        self.model, self.optimizer, self.loss, self.seed, self.max_norm = model, optimizer, loss, seed, max_norm
        self.ids = np.asarray(ids)
        if len(np.unique(self.ids)) != len(self.ids):
            raise BadInput("The ids of training rows must be distinct; some repeat. Give np.arange(len(rows)) if they have none.")
        self.start, self.wanted, self.every = _copy(model), checkpoints, 1
        self.kept: list[tuple[int, dict[str, torch.Tensor]]] = []
        self.places: list[np.ndarray] = []
        self.lr: list[float] = []
        self.draws: list[int] = []
        self.widths: list[int] = []
        self.grouped = [dict(group) for group in optimizer.param_groups]

    @contextmanager
    def step(self, rows: Any, width: int = 0) -> Iterator[None]:
        """Wrap one whole step, from the forward pass to `optimizer.step()`; `rows`: places of its rows among the ids, (B,).

        `width`: of texts that are padded to the longest of their batch, how many tokens wide it is: it decides what dropout draws.

        Yields:
            Nothing.

        Raises:
            BadInput: a place is none of the ids'.
        """
        places = np.asarray(torch.as_tensor(rows).cpu()).astype(np.int64).reshape(-1)
        if len(places) and not (0 <= places.min() and places.max() < len(self.ids)):
            raise BadInput(f"Step {len(self.lr)} names row {places.max()}; there are {len(self.ids)} ids. Give places from 0, not ids.")
        t = len(self.lr)
        if t >= len(self.draws):
            self.draws += [int(w) for w in keys(self.seed, "draws", np.arange(t, t + CLEAR)) >> np.uint64(32)]
        lr = float(self.optimizer.param_groups[0]["lr"])
        with torch.random.fork_rng(devices=[]):
            torch.default_generator.manual_seed(self.draws[t])
            yield
        self.places.append(places)
        self.lr.append(lr)
        self.widths.append(width)
        self._keep(t + 1)

    def _keep(self, steps: int) -> None:
        """Keep the state every so many steps; when there are twice as many as wanted, every other one goes."""
        if steps % self.every == 0:
            self.kept.append((steps, _copy(self.model)))
        if len(self.kept) >= 2 * self.wanted:
            self.kept, self.every = self.kept[1::2], 2 * self.every

    def recipe(self) -> tuple[Recipe | None, str]:
        """Return how this training can be run again, or None and why it cannot."""
        try:
            return _recipe(self), ""
        except BadInput as error:
            return None, str(error)

    def save(self, folder: str | Path, probe: Any = None, classes: Sequence[str] = ()) -> Path:
        """Write the record into a new folder; return its path.

        `probe`: a few inputs as the model takes them; what it answers is written beside them, so that a wrong import is seen.
        `classes`: names of the outputs, in their order.

        Raises:
            BadInput: no step was recorded, or the folder exists.
        """
        folder = Path(folder)
        if not self.lr:
            raise BadInput("No step was recorded. Wrap each step of your loop: with recorder.step(rows): ...")
        with whole_folder(folder) as half:
            self._write(half, probe, list(classes))
        return folder

    def _write(self, folder: Path, probe: Any, classes: list[str]) -> None:
        steps, (recipe, reason) = len(self.lr), self.recipe()
        kept = [(t, state) for t, state in self.kept if t < steps] + [(steps, _copy(self.model))]
        save_file(self.start, folder / "start.safetensors")
        listed, since = [], 0
        for t, state in kept:
            save_file(state, folder / f"checkpoint-{t:07d}.safetensors")
            listed.append({"file": f"checkpoint-{t:07d}.safetensors", "step": t, "lr": float(np.mean(self.lr[since:t]))})
            since = t
        ids = self.ids if self.ids.dtype.kind in "iu" else self.ids.astype(np.str_)
        sizes = np.array([len(p) for p in self.places], dtype=np.int64)
        course = {"ids": ids, "places": np.concatenate(self.places), "sizes": sizes, "lr": np.array(self.lr)}
        course |= {"widths": np.array(self.widths)} if all(self.widths) else {}
        np.savez(folder / "course.npz", **course)  # type: ignore[arg-type]
        if probe is not None:
            self._write_probe(folder, probe)
        told = {"format": FORMAT, "recipe": recipe and recipe.given, "no_recipe": reason, "checkpoints": listed, "classes": classes}
        told |= {"names": list(self.start), "hints": self.hints()}  # safetensors files forget the order
        versions = {"torch": torch.__version__, "module": type(self.model).__name__}
        (folder / "record.json").write_text(json.dumps({**told, **versions}, indent=1), encoding="utf-8")

    def _write_probe(self, folder: Path, probe: Any) -> None:
        training = self.model.training
        self.model.eval()
        with torch.no_grad():
            said = self.answers(probe)
        self.model.train(training)
        named = {f"x.{name}": value for name, value in probe.items()} if isinstance(probe, Mapping) else {"x": probe}
        np.savez(folder / "probe.npz", y=np.asarray(said.cpu()), **{name: np.asarray(value.cpu()) for name, value in named.items()})  # type: ignore[arg-type]

    def answers(self, probe: Any) -> torch.Tensor:
        """Return the model's outputs for a few inputs, (n, C)."""
        said: torch.Tensor = self.model(probe)
        return said

    def hints(self) -> dict[str, Any]:
        """Return what weights do not tell of the module."""
        return hints(self.model)


def hints(model: nn.Module) -> dict[str, Any]:
    """Return settings that leave no trace in weights and can be read off a module: the share that dropout leaves out, the activation."""
    shares = {m.p for m in model.modules() if isinstance(m, nn.Dropout)}
    known = {"gelu": nn.GELU, "relu": nn.ReLU, "tanh": nn.Tanh, "sigmoid": nn.Sigmoid}
    kinds = {name for m in model.modules() for name, kind in known.items() if isinstance(m, kind)}
    told: dict[str, Any] = {"dropout": shares.pop()} if len(shares) == 1 else {}
    return told | ({"activation": kinds.pop()} if len(kinds) == 1 else {})


def _copy(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.detach().to("cpu", copy=True).contiguous() for name, value in model.state_dict().items()}


def _recipe(of: Recorder) -> Recipe:
    """Return the recipe of a recorded training.

    Raises:
        BadInput: the optimiser does what Lethe does not follow.
    """
    kind, groups = type(of.optimizer).__name__.lower(), of.grouped
    if kind not in ("sgd", "adam", "adamw"):
        raise BadInput(f"The optimiser is {type(of.optimizer).__name__}; SGD, Adam and AdamW can be followed.")
    mine, theirs = list(of.model.parameters()), [p for group in groups for p in group["params"]]
    if sorted(map(id, mine)) != sorted(map(id, theirs)):
        raise BadInput("The optimiser must hold all parameters of the model, each once: optimizer(model.parameters()).")
    group, decayed = groups[0], _decayed(of)
    same = ("params", "initial_lr", *(["weight_decay"] if decayed is not None else []))
    apart = [name for other in groups[1:] for name in other if name not in same and other[name] != group.get(name)]
    if apart:
        raise BadInput(f"The optimiser's groups differ in {apart[0]}; one setting for all parameters can be followed.")
    odd = [name for name in ("dampening", "maximize", "amsgrad") if group.get(name)]
    if odd:
        raise BadInput(f"The optimiser was made with {odd[0]}, which is not followed.")
    given: dict[str, Any] = {"weight_decay": float(group["weight_decay"])} if decayed is None else decayed
    if kind == "sgd":
        given |= {"momentum": float(group["momentum"]), "nesterov": bool(group["nesterov"])}
    else:
        given |= {"beta1": float(group["betas"][0]), "beta2": float(group["betas"][1]), "eps": float(group["eps"])}
    dtype = str(mine[0].dtype).removeprefix("torch.")
    batch = max(len(p) for p in of.places)
    epochs = max(1, round(sum(map(len, of.places)) / len(of.ids)))
    given |= {"loss": of.loss, "optimizer": kind, "lr": max(of.lr), "max_norm": of.max_norm}
    given |= {"batch_size": batch, "epochs": epochs, "seed": of.seed, "dtype": dtype}
    return _scheduled(build(Recipe, given), of.lr)


def _decayed(of: Recorder) -> dict[str, Any] | None:
    """Return the setting of weight decay of which biases and scales are spared, as trainers of transformers do; None if it is not so."""
    found = {float(group["weight_decay"]) for group in of.grouped if group["params"]}
    largest, spared = max(found), [p for group in of.grouped for p in group["params"] if not group["weight_decay"]]
    flat = [p for p in of.model.parameters() if p.dim() <= 1]
    if not isinstance(of.optimizer, torch.optim.AdamW) or found != {largest, 0.0} or sorted(map(id, spared)) != sorted(map(id, flat)):
        return None
    return {"weight_decay": largest, "decayed": "matrices"}


def _scheduled(recipe: Recipe, lr: list[float]) -> Recipe:
    """Return the recipe with the schedule that comes nearest to the step sizes: other seeds are trained by it."""
    shares = {0.0, min(0.9, int(np.argmax(lr)) / len(lr))}  # the second: step sizes rise up to the largest
    made = [replace(recipe, schedule=name, warmup=share) for name in SCHEDULES for share in sorted(shares)]  # type: ignore[arg-type]
    return min(made, key=lambda r: float(np.abs(np.array(step_sizes(r, len(lr))) - lr).max()))
