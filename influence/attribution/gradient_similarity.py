"""Gradient similarity: how alike are a row's gradient and the question's, at the final weights.

Charpiat, Girard, Felardos and Tarabalka, Input Similarity from the Neural Network Perspective (NeurIPS 2019), as dot product and cosine:

    dot: s_i = <grad l_i, grad F>        cosine: s_i = <grad l_i, grad F> / (|grad l_i| |grad F|)

with l_i the training loss of row i and F the question's value. A small step on row i lowers F by the dot product times the step size, so
removing it is predicted to raise F: positive scores mark rows whose removal raises F.

A dot product is large where the row's own gradient is long, whatever the question: lists for different questions then name the same rows,
those that the model gets wrong. Dividing by the length takes that away: for the identity as curvature, RelatIF (Barshan, Brunet and
Dziugaite, arXiv:2003.11630), which divides by the root of self-influence, is the cosine up to a factor per question. *Centred* subtracts
the mean gradient of the rows that training saw first, the part that they share; for the plain dot product that would change no order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
import torch

from influence.attribution._shared import over_all
from influence.grads import Rows, chosen, mask, query_gradient, self_influence, sweep
from influence.grads.query import slices
from influence.grads.uses import only
from influence.loop import Bound, tensors, threads
from influence.progress import part
from influence.registry import attribution, option
from influence.settled import trained_on, training_loss
from influence.training import load
from influence.types import Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class GradientSimilarity:
    """How alike the gradients of a row and of the question are at the final weights: quick, for any model, good for ranking only."""

    normalise: Literal["none", "cosine", "centred"] = option(
        "none", "none: dot product; cosine: rows with long gradients no longer lead every list; centred: cosine without what all rows share"
    )
    layers: Literal["all", "last"] = option("all", "Gradients of all layers, or of the last one only")
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    version: ClassVar[int] = 2
    needs: ClassVar[str] = "The final weights."
    cost: ClassVar[str] = "About one training epoch; two with a normalisation."

    def unavailable(self, trained: Trained) -> str:
        """Always "": weights are all it needs."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: the question's gradient or a score is not finite.
        """
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            bound = load(trained)
            rows = Rows(*tensors(trained_on(train, trained), bound.dtype), training_loss(trained, train))
            _, v = query_gradient(bound, question)
            v = v * mask(bound, self.layers)
            values = self._scores(bound, rows, v, report, (workspace or Workspace()).memory)
        return Scores(over_all(values, train, trained), train.ids, question.labels, "gradient_similarity", self.calibrated)

    def _scores(self, bound: Bound, rows: Rows, v: torch.Tensor, report: Report, memory: float) -> np.ndarray:
        if self.normalise == "none":
            return self._along(bound, rows, v, part(report, "similarity", 0, len(rows), len(rows)))
        total = 2 * len(rows)
        shared = torch.zeros_like(v[0])
        if self.normalise == "centred":
            shared = _mean_gradient(bound, rows, self.layers, self.batch)
        along = self._along(bound, rows, torch.cat([v, shared[None]]), part(report, "similarity", 0, total, len(rows)))
        heard = part(report, "similarity", len(rows), total, len(rows))
        own = self_influence(bound, rows.x, rows.target, rows.loss, self.layers, memory / 4, heard).astype(np.float64)
        left = np.maximum(own - 2 * along[:, -1] + float(shared @ shared), 0)  # |g_i - shared|²
        left[left <= 1e-12 * (own + float(shared @ shared))] = 0  # no direction is left, only rounding
        scale = np.sqrt(left)[:, None] * v.norm(dim=1).cpu().numpy()[None]
        return np.divide(along[:, :-1] - (v @ shared).cpu().numpy(), scale, out=np.zeros_like(along[:, :-1]), where=scale > 0)

    def _along(self, bound: Bound, rows: Rows, v: torch.Tensor, report: Report) -> np.ndarray:
        return sweep(bound, rows.x, rows.target, rows.loss, v, self.batch, "auto", report, self.layers).astype(np.float64)


def _mean_gradient(bound: Bound, rows: Rows, layers: str, batch: int) -> torch.Tensor:
    """Return the mean of the rows' gradients, (P,); zero at frozen parameters and outside `layers`."""
    places = chosen(bound, layers)
    total = torch.zeros_like(bound.flat)
    views, params = bound.views(total), [bound.params[k] for k in places]
    for cut in slices(rows.target, batch):
        x, losses = rows.cut(cut).on(bound)
        with only(bound.params, places), torch.enable_grad():
            loss = losses(bound.module(x)).sum()
            grads = torch.autograd.grad(loss, params, allow_unused=True) if loss.requires_grad else [None] * len(places)
        for k, g in zip(places, grads, strict=True):
            if g is not None:
                views[k].add_(g)
    return total / len(rows)
