"""TracIn: follow a question along the checkpoints of training.

Pruthi, Liu, Kale and Sundararajan, Estimating Training Data Influence by Tracing Gradient Descent, arXiv:2002.08484 (there TracInCP):

    s_i = sum over checkpoints k of eta_k <grad l_i(theta_k), grad F(theta_k)>

with l_i the training loss of row i, F the question's differentiable value and eta_k the step size of checkpoint k. One step on row i
alone lowers F by eta <grad l_i, grad F> to first order, so removing the row is predicted to raise F by it: positive scores mark rows
whose removal raises F. All rows are scored by one sweep per checkpoint (`grads.sweep`): directional derivatives, never a gradient per
row. Many values that depend on one row each (single predictions) are scored by products of rows' gradients (`grads.products`) instead.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import ClassVar, Literal, TypeAlias

import numpy as np
import torch

from influence.attribution._shared import only_trained_on
from influence.errors import BadInput
from influence.grads import Rows, by_logits, logits, products, query_gradient, self_influence, sweep
from influence.grads.query import part as rows_of
from influence.loop import Bound, tensors, threads
from influence.progress import part
from influence.registry import attribution, option
from influence.settled import training_loss
from influence.training import load
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace

MANY = 8
"""Values of one row each from which on products of rows cost less than a direction for each."""
Score: TypeAlias = Callable[[Bound, Rows, Report], np.ndarray]


@attribution
@dataclass(frozen=True)
class TracIn:
    """How much each row's steps moved the question at the kept checkpoints, summed; for any model, good for ranking only."""

    sweep: Literal["auto", "ghost", "forward", "backward"] = option(
        "auto",
        "How derivatives are taken: layer by layer (ghost), through the whole model forwards or twice backwards, or each where it is best",
        advanced=True,
    )
    layers: Literal["all", "last"] = option("all", "Gradients of all layers, or of the last one only, which is quicker and coarser")
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "One or more checkpoints of the model."
    cost: ClassVar[str] = "About one training epoch per checkpoint."

    def unavailable(self, trained: Trained) -> str:
        """Always "": weights are all it needs."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: the question's gradient or a score is not finite, or the ghost sweep was chosen and does not apply.
        """
        score = self._score(question, workspace)
        total = _summed(trained, train, (len(train), len(question.labels)), score, report)
        return Scores(total, train.ids, question.labels, "tracin", self.calibrated)

    def by_checkpoint(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> np.ndarray:
        """Return the terms that the scores are the sums of, one after the other as training kept checkpoints, (K, N, Q).

        Raises:
            BadInput: as for scores.
        """
        terms = _terms(trained, train, self._score(question, workspace), report)
        return np.stack([only_trained_on(term, train, trained) for term in terms])

    def _score(self, question: Question, workspace: Workspace | None) -> Score:
        """Return what scores rows at one checkpoint."""
        memory = (workspace or Workspace()).memory

        def score(bound: Bound, rows: Rows, heard: Report) -> np.ndarray:
            found = self._by_products(bound, rows, question, memory, heard)
            if found is not None:
                return found
            _, v = query_gradient(bound, question)
            return sweep(bound, rows.x, rows.target, rows.loss, v, self.batch, self.sweep, heard, self.layers)

        return score

    def replaced(
        self,
        trained: Trained,
        train: Examples,
        second: Examples,
        question: Question,
        report: Report = ignore,
        workspace: Workspace | None = None,
    ) -> Scores:
        """Return how replacing a row by its second version (the same ids in order) moves the question, (N, Q); in no unit of it.

        The steps on the row as it is are taken back, and those on its second version taken instead.

        Raises:
            BadInput: as for scores.
        """
        own, other = (self(trained, rows, question, report, workspace) for rows in (train, second))
        return Scores(own.values - other.values, train.ids, question.labels, "tracin", self.calibrated)

    def _by_products(self, bound: Bound, rows: Rows, question: Question, memory: float, report: Report) -> np.ndarray | None:
        """Return the scores of one checkpoint if the question is many values of one row each, (N, Q).

        Raises:
            BadInput: a value's derivative is not finite.
        """
        if self.sweep != "auto" or len(question.labels) < MANY:
            return None
        x, _, outward = by_logits(bound, question)
        used = outward.flatten(2).any(2)
        if (used.sum(1) > 1).any():
            return None
        if not torch.isfinite(outward).all():
            raise BadInput("The question's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
        at = used.int().argmax(1)
        asked = Rows(rows_of(x, at), outward[torch.arange(len(at)), at], "linear")
        n = len(question.labels)

        def heard(event: Event) -> None:
            report(Event("sweep", event.done // n, event.total // n))

        return products(bound, asked, rows, self.layers, memory, heard).T


def _terms(trained: Trained, train: Examples, score: Score, report: Report) -> Iterator[np.ndarray]:
    """Yield eta_k times each checkpoint's scores; each is loaded once."""
    n, kept, loss = len(train), trained.checkpoints, training_loss(trained, train)
    with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
        for k, checkpoint in enumerate(kept):
            bound = load(trained, checkpoint)
            x, y = tensors(train, bound.dtype)
            yield checkpoint.lr * score(bound, Rows(x, y, loss), part(report, "tracin", k * n, len(kept) * n, n))


def _summed(trained: Trained, train: Examples, shape: tuple[int, ...], score: Score, report: Report) -> np.ndarray:
    """Add up the checkpoints' scores. Rows that training never saw moved nothing."""
    total = np.zeros(shape)
    for term in _terms(trained, train, score, report):
        total += term
    return only_trained_on(total, train, trained)


def own_influence(trained: Trained, train: Examples, layers: str = "all", report: Report = ignore, memory: float = 512.0) -> np.ndarray:
    """Return each row's self-influence, (N,): sum over checkpoints of eta_k |grad l_i(theta_k)|² (Pruthi et al., section 4.1).

    What a row's own steps did to its own loss: large for rows that nothing else explains, mislabelled or rare ones.

    Raises:
        BadInput: rows of a batch are not independent.
    """

    def score(bound: Bound, rows: Rows, heard: Report) -> np.ndarray:
        return self_influence(bound, rows.x, rows.target, rows.loss, layers, memory, heard)

    return _summed(trained, train, (len(train),), score, report)


def swayed(
    trained: Trained,
    one: Examples,
    asked: Examples,
    value: Callable[[torch.Tensor], torch.Tensor],
    report: Report = ignore,
    memory: float = 512.0,
) -> np.ndarray:
    """Return what removing the one training row `one` does to the value of each row of `asked`, (M,); in no unit of it.

    TracIn turned round: sum over checkpoints of eta_k <grad l(theta_k), grad F_q(theta_k)>. `value`: outputs (M, C) -> (M,), the value of
    each row by its own outputs alone, differentiable. Zero if training never saw the row.

    Raises:
        BadInput: a value's derivative is not finite, or rows of a batch are not independent.
    """

    def score(bound: Bound, rows: Rows, heard: Report) -> np.ndarray:
        x, _ = tensors(asked, bound.dtype)
        seen = logits(bound, x).cpu().requires_grad_()
        outward = torch.autograd.grad(value(seen).sum(), seen)[0]
        if not torch.isfinite(outward).all():
            raise BadInput("A prediction's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
        return products(bound, Rows(x, outward, "linear"), rows, memory=memory, report=heard).T

    return _summed(trained, one, (1, len(asked)), score, report)[0]
