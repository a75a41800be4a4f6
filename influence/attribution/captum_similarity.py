"""Rows that look alike to the model: an adapter on `captum.influence.SimilarityInfluence` (version 0.9).

Captum compares activations h of one layer, row by row. That alone says which rows look alike, not which way they push. With d_i = dl_i/dz_i
what row i asks of its outputs and c_j = dF/dz_j what the question asks of evaluation row j,

    s_i = sum over evaluation rows j of <d_i, c_j> similarity(h_i, h_j):

a step on row i moves the outputs by -d_i there and wherever the model sees the same. This is no derivative, with one exception: for the
input of the last Linear layer and the dot product it is TracIn on that layer at the final weights (Yeh et al., Representer Point Selection,
arXiv:1811.09720, have this form too). With the cosine, rows with long activations count no more than others. Besides what `_captum.py` says
of all adapters:

- Captum keeps activations in a folder and takes what it finds there, also of other weights: here each call has an empty folder.
- It asks each batch for as many best rows as the batch has: the last, shorter batch fails. Here each block of rows is one batch.
- Of a single layer, it hands a list to its own similarities, which then fail.
- Its cosine is -2 for rows whose activations are all zero; here it is 0: such a row is like no other.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

import torch
from torch import nn
from torch.utils.data import TensorDataset

from influence.attribution._captum import (
    alone,
    bias_as_weight,
    blocks,
    loaded,
    no_linear_layer,
    numbers,
    one_array,
    surrogates,
)
from influence.attribution._shared import by_outputs, only_trained_on
from influence.errors import BadInput
from influence.grads import logits
from influence.loop import Bound, tensors
from influence.registry import attribution, option
from influence.settled import training_loss
from influence.types import Event, Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace


@attribution
@dataclass(frozen=True)
class CaptumSimilarity:
    """Rows whose activations are like those of the rows asked about, counted by how both pull at the outputs; good for ranking only."""

    similarity: Literal["cosine", "dot"] = option("cosine", "Of activations: by their angle (cosine), or their product (dot)")
    layer: str = option("", "Name of the layer whose outputs are compared (empty: what goes into the last Linear layer)", advanced=True)
    batch: int = option(4096, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "The final weights, and one array of inputs."
    cost: ClassVar[str] = "About one pass over the training rows, and a product of each with each evaluation row."

    def unavailable(self, trained: Trained) -> str:
        """Say why there is no layer to compare, or ""."""
        if not self.layer:
            return no_linear_layer(trained, "SimilarityInfluence, without the name of a layer,")
        names = [name for name, _ in Bound(trained.model).module.named_modules() if name]
        return "" if self.layer in names else f"The model has no layer {self.layer!r}; it has: {', '.join(names)}."

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q); in no unit of the question.

        Raises:
            BadInput: inputs are named arrays, the model has no such layer, or a score is not finite.
        """
        one_array(train, question)
        if reason := self.unavailable(trained):
            raise BadInput(reason)
        space, bound = workspace or Workspace(), loaded(trained)
        with alone(trained), tempfile.TemporaryDirectory() as folder:
            x, y = tensors(train, bound.dtype)
            d = by_outputs(logits(bound, x), y, training_loss(trained, train))
            asked = list(surrogates(bound, question))
            module, layer = (bound.module, self.layer) if self.layer else _before_last(bound.module)
            widest = max(x[0].numel(), _width(module, layer, x[:1]), *(len(test) for test in asked))
            size = max(1, min(self.batch, numbers(space, bound) // widest))
            parts = []
            for k, block in enumerate(blocks(TensorDataset(x, d), size)):
                parts.append(self._block(module, layer, block, asked, Path(folder) / str(k), size))
                report(Event("captum_similarity", min(len(train), (k + 1) * size), len(train)))
        scores = only_trained_on(torch.cat(parts).numpy(), train, trained)
        return Scores(scores, train.ids, question.labels, "captum_similarity", self.calibrated)

    def _block(
        self, module: nn.Module, layer: str, rows: TensorDataset, asked: list[TensorDataset], folder: Path, size: int
    ) -> torch.Tensor:
        """Return the scores of a block of training rows, (B, Q)."""
        from captum.influence import SimilarityInfluence

        x, d = rows.tensors
        peer = SimilarityInfluence(
            module,
            layer,
            TensorDataset(x),
            str(folder),
            similarity_metric=_cosine if self.similarity == "cosine" else _dot,
            batch_size=len(x),
        )
        scores = torch.zeros(len(x), len(asked), dtype=d.dtype)
        for q, test in enumerate(asked):
            for part in blocks(test, size) if len(test) else []:
                inputs, c = part.tensors
                places, values = peer.influence(inputs, top_k=len(x), load_src_from_disk=False)[layer]
                alike = torch.empty(values.shape, dtype=d.dtype).scatter_(1, places, values.detach().to(d.dtype))
                scores[:, q] += (alike * (c.flatten(1) @ d.flatten(1).T)).sum(0)
        return scores


def _cosine(test: Any, train: torch.Tensor) -> torch.Tensor:
    return nn.functional.normalize(_one(test).flatten(1)) @ nn.functional.normalize(train.flatten(1)).T


def _dot(test: Any, train: torch.Tensor) -> torch.Tensor:
    return _one(test).flatten(1) @ train.flatten(1).T


def _one(test: Any) -> torch.Tensor:
    """Of one layer, Captum hands over the activations of test rows as a list of one."""
    return test[0] if isinstance(test, list) else test


def _before_last(module: nn.Module) -> tuple[nn.Module, str]:
    """Return the module and the name of the layer that gives what goes into the last Linear layer, and a 1 for its bias."""
    name, layer = [(name, layer) for name, layer in module.named_modules() if type(layer) is nn.Linear][-1]
    if layer._parameters["bias"] is not None:
        module, _ = bias_as_weight(module, name)
    else:
        both = nn.Sequential(nn.Identity(), layer)
        if name:
            module.set_submodule(name, both)
        else:
            module = both
    return module, f"{name}.0" if name else "0"


def _width(module: nn.Module, layer: str, x: torch.Tensor) -> int:
    """Return how many numbers the layer gives for a row.

    Raises:
        BadInput: it gives something else than one tensor, once.
    """
    seen: list[Any] = []
    hook = module.get_submodule(layer).register_forward_hook(lambda _module, _given, out: seen.append(out))
    try:
        with torch.no_grad():
            module(x)
    finally:
        hook.remove()
    if len(seen) != 1 or not isinstance(seen[0], torch.Tensor) or len(seen[0]) != 1:
        raise BadInput(f"The layer {layer!r} does not give one tensor of activations once per row. Name another layer.")
    return seen[0].numel()
