"""Activation similarity: which rows look alike to the model's last hidden layer.

Representation similarity as attribution (Hanawa, Yokoi, Hara and Inui, Evaluation of Similarity-based Explanations, arXiv:2006.04528), here
for any question: what the question's value would change if a row were taken out of a weighted vote of neighbours in the last hidden layer.
With h the inputs of the last Linear layer, sim their dot product or cosine, and t_i the row's label (one-hot, or its number):

    s_i = - sum over the question's rows q of sim(h_i, h_q) dF/dz_q . (t_i - p_q)

p_q is what the model says of q (probabilities; for numbers its output z_q): a row whose label is what the model says anyway changes little.
No gradient of a row is taken; how hard the model found the row does not count, only what it looks like and what its label is.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from torch import nn

from influence.attribution._shared import only_trained_on
from influence.grads.hidden import ends_linear, hidden
from influence.grads.query import part as rows_of
from influence.grads.query import slices
from influence.loop import Bound, tensors, threads
from influence.registry import attribution, option
from influence.settled import training_loss
from influence.training import load
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class ActivationSimilarity:
    """Rows that look alike to the last hidden layer, counted as neighbours that vote with their labels: quick, good for ranking only."""

    normalise: Literal["cosine", "none"] = option("cosine", "cosine: direction alone counts; none: dot product, long activations lead")
    batch: int = option(1024, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "A model that ends in a Linear layer."
    cost: ClassVar[str] = "One forward pass over the training rows."

    def unavailable(self, trained: Trained) -> str:
        """Say why the model has no last hidden layer, or ""."""
        if ends_linear(Bound(trained.model).module):
            return ""
        return (
            "Activation similarity compares the inputs of a last Linear layer; this model does not end in one. Choose gradient_similarity."
        )

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: the model's output is not that of its last Linear layer, or a score is not finite.
        """
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            bound, n = load(trained), len(train)
            votes = training_loss(trained, train) == "cross_entropy"
            alike, against = self._question(bound, question, votes)
            x, y = tensors(train, bound.dtype)
            values = np.zeros((n, len(question.labels)))
            for cut in slices(y, self.batch):
                h, z = self._hidden(bound, rows_of(x, cut))
                own = alike @ h.T  # (Q * C, B)
                target = nn.functional.one_hot(y[cut], z.shape[1]).to(h) if votes else y[cut, None].to(h)
                label = (own.view(len(question.labels), -1, len(h)) * target.T).sum(1)
                values[cut] = -(label - against @ h.T).T.cpu().numpy()
                report(Event("activations", cut.stop, n))
        return Scores(only_trained_on(values, train, trained), train.ids, question.labels, "activation_similarity", self.calibrated)

    def alike(self, trained: Trained, train: Examples, asked: Examples, report: Report = ignore) -> np.ndarray:
        """Return how alike each training row and each of `asked` are to the last hidden layer, whatever their labels, (N, M).

        Raises:
            BadInput: the model's output is not that of its last Linear layer.
        """
        with threads(trained.recipe.threads if trained.recipe else torch.get_num_threads()):
            bound, n = load(trained), len(train)
            seen = self._hidden(bound, tensors(asked, bound.dtype)[0])[0]
            x, _ = tensors(train, bound.dtype)
            values = np.zeros((n, len(asked)))
            for cut in slices(x, self.batch):
                values[cut] = (self._hidden(bound, rows_of(x, cut))[0] @ seen.T).cpu().numpy()
                report(Event("activations", cut.stop, n))
        return values

    def _question(self, bound: Bound, question: Question, votes: bool) -> tuple[torch.Tensor, torch.Tensor]:
        """Return sum_q dF/dz_qc h_q (Q * C, D), and sum_q (dF/dz_q . p_q) h_q (Q, D): all that is needed of the question's rows."""
        x, _ = tensors(question.examples, bound.dtype)
        parts = [self._hidden(bound, rows_of(x, cut)) for cut in slices(x, self.batch)]
        h, z = (torch.cat(t) for t in zip(*parts, strict=True))
        seen = z.cpu().clone().requires_grad_()  # the question's labels and groups are on the CPU
        slope = torch.stack([torch.autograd.grad(value, seen, retain_graph=True)[0] for value in question.value(seen)]).to(z)  # (Q, M, C)
        said = z.softmax(1) if votes else z
        return torch.einsum("qmc,md->qcd", slope, h).flatten(0, 1), torch.einsum("qmc,mc,md->qd", slope, said, h)

    def _hidden(self, bound: Bound, x: Any) -> tuple[torch.Tensor, torch.Tensor]:
        """Return the inputs of the last Linear layer (B, D), of length 1 for the cosine, and the outputs (B, C).

        Raises:
            BadInput: something follows that layer, or it is used more than once.
        """
        h, z = hidden(bound, x)
        return (nn.functional.normalize(h, dim=1) if self.normalise == "cosine" else h), z
