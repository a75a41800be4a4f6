"""Write the training of a run in the form in which a `Recorder` writes one, so that it can be followed wherever the model is brought."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file

from influence.exchange.exported import WEIGHTS
from influence.exchange.recorder import FORMAT
from influence.loop import Bound
from influence.types import Checkpoint, State, Trained


def write_course(folder: Path, trained: Trained, final: State, reason: str = "") -> None:
    """Write `record.json`, the checkpoints before the last one (which is `model.safetensors`), and where the training began and went.

    `final`: the model's weights. `reason`: why the weights do not follow from the recipe, if they do not; the recipe is left out then.
    """
    if not reason and trained.recipe and trained.recipe.course and not trained.recipe.went:
        reason = "It is another training from the first weights of one that was brought here; its order is not written out."
    last = len(trained.checkpoints) - 1
    listed = [_kept(folder, c, WEIGHTS if k == last else f"checkpoint-{k:04d}.safetensors") for k, c in enumerate(trained.checkpoints)]
    recipe = None if reason else trained.recipe
    went = recipe.went if recipe else None
    if recipe and went:
        course = {name: np.array(part) for name, part in went.load().items()}
        begun = Bound(trained.model, dtype=recipe.dtype, on=torch.device("cpu"))
        start = torch.from_numpy(course.pop("start")).to(begun.flat)
        save_file(_contiguous(begun.put(start).state()), folder / "start.safetensors")
        np.savez(folder / "course.npz", **course)  # type: ignore[arg-type]
    no_recipe = reason or ("" if recipe else "It was brought here without a recipe that can be followed.")
    told: dict[str, Any] = {"format": FORMAT, "recipe": recipe and recipe.given, "no_recipe": no_recipe, "checkpoints": listed}
    told |= {"by_seed": recipe is not None and went is None, "removed": list(trained.removed) if recipe else [], "names": list(final)}
    (folder / "record.json").write_text(json.dumps(told, indent=1, allow_nan=False), encoding="utf-8")


def _kept(folder: Path, checkpoint: Checkpoint, file: str) -> dict[str, Any]:
    if file != WEIGHTS:
        save_file(_contiguous(checkpoint.load()), folder / file)
    return {"file": file, "step": checkpoint.step, "lr": checkpoint.lr}


def _contiguous(state: State) -> State:
    return {name: value.contiguous() for name, value in state.items()}
