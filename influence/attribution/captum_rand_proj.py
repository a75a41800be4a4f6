"""TracIn on the last layer by random projection: an adapter on `captum.influence.TracInCPFastRandProj` (version 0.9).

In mathematics: for the last Linear layer, with a_i its input (and a 1 for the bias) and d_i = dl_i/d(output), a row's gradient is the outer
product of d_i and a_i. Captum keeps (P d_i) (x) (Q a_i) instead, with Gaussian P and Q of about sqrt(k) rows each and mean squares that
make products right on average (Pruthi et al., arXiv:2002.08484, appendix F), so that

    s_i = sum over checkpoints of eta_k <P d_i, P d_F> <Q a_i, Q a_F>,

whose mean over projections is the score of `captum_tracin` with layer=last.

Besides what `_captum.py` says of all adapters:

- Captum embeds the *training* rows with the test loss if one is given. Here both are linear functionals of the outputs, the rows' with
  their own derivatives dl_i/dz for coefficients, so that there is one loss for both.
- It keeps k numbers of every training row in memory, twice: rows are taken in blocks that fit, under one projection (the same seed).
- It needs the package annoy for its index, and asks it for the nearest rows approximately; here all products are formed.
- It draws a Gaussian P also where it is no shorter than what it projects (few outputs): that adds noise and saves nothing. With
  `dimensions` 0, or at least outputs x inputs of the layer, nothing is projected, and scores are those of `captum_tracin` exactly.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
import torch
from torch import nn
from torch.utils.data import TensorDataset

from influence.attribution._captum import (
    Counter,
    Loss,
    alone,
    batches,
    bias_as_weight,
    blocks,
    linear,
    loaded,
    no_linear_layer,
    numbers,
    one_array,
    output_layer,
    step_size,
    surrogates,
)
from influence.attribution._shared import by_outputs, only_trained_on
from influence.grads import logits
from influence.loop import Bound, tensors
from influence.registry import attribution, option
from influence.settled import training_loss
from influence.types import Checkpoint, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class CaptumRandProj:
    """TracIn on the last layer with randomly projected gradients, by Captum's own class; approximates `captum_tracin`, layer=last."""

    dimensions: int = option(4096, "Numbers kept of each row and checkpoint (0: all, nothing is projected)", min=0, max=2**20)
    seed: int = option(0, "Of the projection", min=0, max=2**31 - 1, advanced=True)
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "One or more checkpoints of a model that ends in a Linear layer, and one array of inputs."
    cost: ClassVar[str] = "About one training epoch per checkpoint."

    def unavailable(self, trained: Trained) -> str:
        """Say why Captum cannot score this model, or ""."""
        return no_linear_layer(trained, "TracInCPFastRandProj")

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: inputs are named arrays, the model does not end in a Linear layer, or a score is not finite.
        """
        one_array(train, question)
        loss, n, kept = training_loss(trained, train), len(train), trained.checkpoints
        total = np.zeros((n, len(question.labels)))
        with alone(trained):
            for k, checkpoint in enumerate(kept):
                heard = Counter(report, "captum_rand_proj", k * n, n, len(kept) * n)
                total += self._at(loaded(trained, checkpoint), checkpoint, train, question, loss, heard, workspace)
                heard.finish()
        return Scores(only_trained_on(total, train, trained), train.ids, question.labels, "captum_rand_proj", self.calibrated)

    def _at(
        self, bound: Bound, checkpoint: Checkpoint, train: Examples, question: Question, loss: str, heard: Counter, space: Workspace | None
    ) -> np.ndarray:
        x, y = tensors(train, bound.dtype)
        asked = list(surrogates(bound, question))
        rows = TensorDataset(x, by_outputs(logits(bound, x), y, loss))
        module, last = bias_as_weight(bound.module, output_layer(bound.module, x[:2]))
        width = self._width(last)
        size = max(1, numbers(space, bound) // (2 * width))
        parts = []
        for block in blocks(rows, size):
            peer = self._peer(module, last, checkpoint, block, heard)
            tests = [blocks(test, min(size, numbers(space, bound) // len(block))) if len(test) else [] for test in asked]
            parts.append(torch.stack([_sum(peer, test, len(block), rows.tensors[1]) for test in tests], dim=1))
        return torch.cat(parts).numpy()

    def _width(self, last: nn.Linear) -> int:
        """How many numbers Captum keeps of a row."""
        whole = last.in_features * last.out_features
        return min(self.dimensions, whole) if self.dimensions else whole

    def _peer(self, module: nn.Module, last: nn.Linear, checkpoint: Checkpoint, rows: TensorDataset, heard: Counter) -> Any:
        from captum.influence import TracInCPFastRandProj
        from captum.influence._utils.nearest_neighbors import NearestNeighbors

        class NoIndex(NearestNeighbors):
            """All products are formed; there is nothing to look up."""

            def setup(self, data: torch.Tensor) -> None:
                pass

            def get_nearest_neighbors(self, query: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
                raise NotImplementedError

        return TracInCPFastRandProj(
            module,
            last,
            batches(rows, self.batch),
            [checkpoint],
            checkpoints_load_func=step_size,
            loss_fn=Loss(linear, "sum", heard),
            nearest_neighbors=NoIndex(),
            projection_dim=self.dimensions or None,
            seed=self.seed,
        )


def _sum(peer: Any, tests: list[TensorDataset], n: int, like: torch.Tensor) -> torch.Tensor:
    """Return the scores of a block of training rows, summed over the test rows, (n,)."""
    total = torch.zeros(n, dtype=like.dtype)
    for part in tests:
        total += peer.influence(part.tensors, k=None).detach().sum(0)
    return total
