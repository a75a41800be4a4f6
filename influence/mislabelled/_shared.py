"""What every score of labels shares: its refusals, its form, and margins."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
import torch

from influence.errors import BadInput
from influence.grads import outputs
from influence.loop import threads
from influence.repeatable import no_recipe
from influence.training import load
from influence.types import Checkpoint, Examples, Report, Scores, Trained, ignore
from influence.workspace import Workspace

LABEL = "label error"
"""The one value of these scores; the `top_k` finder takes it with better="higher"."""


class Score:
    """A score of labels: called with a model and its training rows, it says how likely each row's label is wrong; higher is likelier."""

    id: ClassVar[str]
    retrains: ClassVar[bool] = False
    reads: ClassVar[str]
    """What a score says, in a sentence for its column."""

    def unavailable(self, trained: Trained) -> str:
        """Say why the score is closed to this model, or ""."""
        return no_recipe(trained, self.id, "own_influence or loss") if self.retrains else ""

    def __call__(self, trained: Trained, train: Examples, report: Report = ignore, workspace: Workspace | None = None) -> Scores:
        """Return scores (N, 1); the truth about the labels is not needed.

        Raises:
            BadInput: the target is a number, the score needs a recipe, or something overflowed.
        """
        for reason in (no_classes(train), self.unavailable(trained)):
            if reason:
                raise BadInput(reason)
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            values = self.values(trained, train, report, workspace or Workspace())
        return Scores(np.asarray(values, dtype=np.float64)[:, None], train.ids, (LABEL,), self.id, False)

    def values(self, trained: Trained, train: Examples, report: Report, workspace: Workspace) -> np.ndarray:
        """Return the scores, (N,)."""
        raise NotImplementedError

    def labels(self, trained: Trained, train: Examples, report: Report = ignore, workspace: Workspace | None = None) -> np.ndarray:
        """Return the label that the score would give each row, as a place in the classes (N,): by default the model's own."""
        return logits_of(trained, train).argmax(1)


def no_classes(train: Examples) -> str:
    """Return why rows cannot be asked about their labels, or ""."""
    if len(train.classes) > 1:
        return ""
    what = "these rows have one" if train.classes else "this target is a number"
    return f"Wrong labels are looked for among classes; {what}. Choose data with two classes or more."


def logits_of(trained: Trained, rows: Examples, checkpoint: Checkpoint | None = None) -> np.ndarray:
    """Return the outputs at a checkpoint (default: the last), (N, C) float64."""
    return outputs(load(trained, checkpoint), rows).double().cpu().numpy()


def own(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return the value of the given label, (N,); z is (N, C), logits or probabilities."""
    return np.take_along_axis(z, y[:, None], 1)[:, 0]


def margins(z: np.ndarray, y: np.ndarray) -> np.ndarray:
    """Return how far the value of the given label lies above the largest other one, (N,)."""
    others = z.copy()
    np.put_along_axis(others, y[:, None], -np.inf, 1)
    return own(z, y) - others.max(1)
