"""TracIn as computed by Captum: an adapter on `captum.influence.TracInCP` and `TracInCPFast` (version 0.9).

Method: Pruthi et al., arXiv:2002.08484; s_i = sum over checkpoints k of eta_k <grad l_i, grad F>, over all parameters or over those of the
last Linear layer. How any question is asked, and what Captum is kept from: `_captum.py`. The question's coefficients differ from checkpoint
to checkpoint; each has its own Captum object, and the results are added up.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

import numpy as np
from torch.utils.data import TensorDataset

from influence.attribution._captum import (
    ROW_BY_ROW,
    Counter,
    Loss,
    Touching,
    all_used,
    alone,
    batches,
    bias_as_weight,
    blocks,
    by_batch_is_right,
    linear,
    loaded,
    no_linear_layer,
    numbers,
    one_array,
    output_layer,
    step_size,
    surrogates,
)
from influence.attribution._shared import only_trained_on
from influence.loop import Bound, tensors
from influence.losses import per_example
from influence.registry import attribution, option
from influence.settled import training_loss
from influence.types import Checkpoint, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class CaptumTracIn:
    """TracIn by Captum's own classes, to compare with or for reports that must name Captum; slower than `tracin`, equal to it in value."""

    layer: Literal["all", "last"] = option("all", "All layers (TracInCP), or only the last Linear layer (TracInCPFast)")
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "One or more checkpoints of the model, and one array of inputs."
    cost: ClassVar[str] = "Tens of training epochs per checkpoint and question; a few with layer=last."

    def unavailable(self, trained: Trained) -> str:
        """Say why Captum cannot score this model, or ""."""
        return no_linear_layer(trained, "TracInCPFast") if self.layer == "last" else ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: inputs are named arrays, the model does not end in a Linear layer (layer=last), or a score is not finite.
        """
        one_array(train, question)
        loss, q = training_loss(trained, train), len(question.labels)
        total, all_rows = np.zeros((len(train), q)), len(trained.checkpoints) * q * len(train)
        score = self._all_layers if self.layer == "all" else self._last_layer
        with alone(trained):
            for k, checkpoint in enumerate(trained.checkpoints):
                bound = loaded(trained, checkpoint)
                rows, most = TensorDataset(*tensors(train, bound.dtype)), numbers(workspace, bound)
                for j, test in enumerate(surrogates(bound, question)):
                    heard = Counter(report, "captum_tracin", (k * q + j) * len(train), len(train), all_rows)
                    if len(test):
                        total[:, j] += score(bound, checkpoint, rows, test, loss, heard, most)
                    heard.finish()
        return Scores(only_trained_on(total, train, trained), train.ids, question.labels, "captum_tracin", self.calibrated)

    def _all_layers(
        self, bound: Bound, checkpoint: Checkpoint, rows: TensorDataset, test: TensorDataset, loss: str, heard: Counter, most: int
    ) -> np.ndarray:
        from captum.influence import TracInCP

        at_once = by_batch_is_right(bound.module)
        size = self.batch if at_once else min(self.batch, ROW_BY_ROW)
        size = max(1, min(size, most // len(bound.flat)))
        reduction = "sum" if at_once else "none"
        peer = TracInCP(
            bound.module if at_once or all_used(bound, rows.tensors[0][:1]) else Touching(bound.module),
            batches(rows, size),
            [checkpoint],
            checkpoints_load_func=step_size,
            loss_fn=Loss(lambda z, y: per_example(loss, z, y), reduction, heard),
            test_loss_fn=Loss(linear, reduction),
            sample_wise_grads_per_batch=at_once,
        )
        return peer.influence(batches(test, size), aggregate=True)[0].numpy()

    def _last_layer(
        self, bound: Bound, checkpoint: Checkpoint, rows: TensorDataset, test: TensorDataset, loss: str, heard: Counter, most: int
    ) -> np.ndarray:
        from captum.influence import TracInCPFast

        module, last = bias_as_weight(bound.module, output_layer(bound.module, rows.tensors[0][:2]))
        parts = blocks(test, most // (4 * len(rows)))
        heard.share = len(parts)
        peer = TracInCPFast(
            module,
            last,
            batches(rows, self.batch),
            [checkpoint],
            checkpoints_load_func=step_size,
            loss_fn=Loss(lambda z, y: per_example(loss, z, y), "sum", heard),
            test_loss_fn=Loss(linear, "sum"),
        )
        return sum(peer.influence(part.tensors).detach().sum(0) for part in parts).numpy()
