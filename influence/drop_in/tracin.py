"""`TracInCP` and `TracInCPFast`; what they do differently from Captum's stands in the package's docstring."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.data import DataLoader, Dataset

from influence.drop_in.model import TOGETHER, Borrowed, joined, load_checkpoint, see_order, standing
from influence.grads.matrix import Feature, product

MEMORY = 512.0
"""MiB that the gradients of the test rows may take, and those of a block of training rows."""


class KMostInfluentialResults(NamedTuple):
    """Places in the training data, and scores, of the k most influential rows of each test row, (Q, k) each."""

    indices: Tensor
    influence_scores: Tensor


class TracInCPBase:
    """What both classes share; not for use by itself."""

    layer_modules: list[nn.Module] | None = None

    def __init__(
        self,
        model: nn.Module,
        train_dataset: Dataset[Any] | DataLoader[Any],
        checkpoints: str | Iterable[Any],
        checkpoints_load_func: Callable[..., float] = load_checkpoint,
        loss_fn: Any = None,
        batch_size: int | None = 1,
        test_loss_fn: Any = None,
    ) -> None:
        self.model, self.checkpoints_load_func = model, checkpoints_load_func
        self.loss_fn, self.test_loss_fn = loss_fn, loss_fn if test_loss_fn is None else test_loss_fn
        self.batch_size = batch_size
        self.checkpoints = _files(checkpoints) if isinstance(checkpoints, str) else list(checkpoints)
        if not self.checkpoints:
            raise ValueError(f"Invalid checkpoints provided for TracIn class: {checkpoints}!")
        if not isinstance(train_dataset, DataLoader):
            train_dataset = DataLoader(train_dataset, batch_size or TOGETHER, shuffle=False)
        see_order(train_dataset, "training loader")
        self.train_dataloader = train_dataset

    @classmethod
    def get_name(cls) -> str:
        """Name for progress bars."""
        return cls.__name__

    def self_influence(self, inputs: Any = None, show_progress: bool = False, outer_loop_by_checkpoints: bool = False) -> Tensor:
        """Return each row's score on itself, (N,): of the training data, or of `inputs`, a batch or a loader."""
        what = f"Using {self.get_name()} to compute self influence. Processing"
        outer = _bar(self.checkpoints, f"{what} checkpoint", show_progress and outer_loop_by_checkpoints)
        total: Any = 0
        with self._standing():
            for checkpoint in outer:
                bound, rate = self._at(checkpoint)
                blocks = self._features(bound, inputs, self.loss_fn, f"{what} batch", show_progress)
                found = [sum((f.squares() for f in fs.values()), torch.zeros(n, device=bound.device)) for n, fs in blocks]
                total = total + rate * torch.cat(found)
        return total

    def _influence(self, inputs: Any, k: int | None, proponents: bool, show_progress: bool, aggregate: bool) -> Any:
        if inputs is None:  # the type of error is Captum's
            raise AssertionError("The `inputs` argument is required. For scores of rows on themselves use `self_influence`.")
        to = f"perform computation for getting {'proponents' if proponents else 'opponents'}. Processing training batches"
        desc = f"Using {self.get_name()} to {'compute influence for training batches' if k is None else to}"
        total: Any = 0
        with self._standing():
            for checkpoint in self.checkpoints:
                bound, rate = self._at(checkpoint)
                total = total + rate * (self._summed if aggregate else self._pairs)(bound, inputs, desc, show_progress)
        if k is None:
            return total
        found = torch.topk(total, min(k, total.shape[1]), dim=1, largest=proponents)
        return KMostInfluentialResults(found.indices, found.values)

    def _pairs(self, bound: Borrowed, inputs: Any, desc: str, show: bool) -> Tensor:
        """Return the products of all pairs, (Q, N); the test rows' gradients are kept while the training rows pass by."""
        parts = []
        for mine in _held(self._features(bound, inputs, self.test_loss_fn)):
            across = []
            for n, theirs in self._features(bound, None, self.loss_fn, desc, show):
                nothing = torch.zeros(1, n, device=bound.device)
                across.append(torch.cat([sum((product(m[p], theirs[p]) for p in m.keys() & theirs.keys()), nothing) for m in mine]))
            parts.append(torch.cat(across, dim=1))
        return torch.cat(parts)

    def _summed(self, bound: Borrowed, inputs: Any, desc: str, show: bool) -> Tensor:
        """Return the products with the sum of the test rows' gradients, (1, N): one direction, along which all rows are swept."""
        places = self._places(bound)
        v = torch.zeros(1, len(bound.flat), dtype=bound.widest, device=bound.device)
        for batch in self._batches(inputs):
            x, losses = bound.asked(batch, self.test_loss_fn).on(bound)
            found = torch.autograd.grad(losses(bound.module(x)).sum(), [bound.params[p] for p in places], allow_unused=True)
            for place, g in zip(places, found, strict=True):
                if g is not None:
                    bound.views(v)[place][0] += g
        return torch.cat([bound.along(bound.asked(b, self.loss_fn), places, v) for b in self._batches(None, desc, show)]).T

    def _features(
        self, bound: Borrowed, inputs: Any, loss: Any, desc: str = "", show: bool = False
    ) -> Iterator[tuple[int, dict[int, Feature]]]:
        """Yield blocks of rows: how many, and their gradients by parameter."""
        if isinstance(inputs, DataLoader) and len(self.checkpoints) > 1:
            see_order(inputs, "loader of inputs")
        places = self._places(bound)
        for batch in self._batches(inputs, desc, show):
            yield from bound.features(bound.asked(batch, loss), places, MEMORY)

    def _batches(self, inputs: Any, desc: str = "", show: bool = False) -> Iterator[Any]:
        """Yield joined batches of the training data (None), of a loader, or the one batch that is given."""
        source = self.train_dataloader if inputs is None else inputs if isinstance(inputs, DataLoader) else [inputs]
        return joined(_bar(source, desc, show))

    def _at(self, checkpoint: Any) -> tuple[Borrowed, float]:
        rate = self.checkpoints_load_func(self.model, checkpoint)
        return Borrowed(self.model), rate

    def _standing(self) -> Any:
        return standing(self.model, [p for layer in self.layer_modules or [] for p in layer.parameters()])

    def _places(self, bound: Borrowed) -> list[int]:
        """Of which parameters gradients are taken."""
        own = None if self.layer_modules is None else {id(p) for layer in self.layer_modules for p in layer.parameters()}
        return [k for k, p in enumerate(bound.params) if p.requires_grad and (own is None or id(p) in own)]


class TracInCP(TracInCPBase):
    """TracIn over all parameters of a module, or over those of `layers`."""

    def __init__(
        self,
        model: nn.Module,
        train_dataset: Dataset[Any] | DataLoader[Any],
        checkpoints: str | Iterable[Any],
        checkpoints_load_func: Callable[..., float] = load_checkpoint,
        layers: list[str] | None = None,
        loss_fn: Any = None,
        batch_size: int | None = 1,
        test_loss_fn: Any = None,
        sample_wise_grads_per_batch: bool = False,
    ) -> None:
        super().__init__(model, train_dataset, checkpoints, checkpoints_load_func, loss_fn, batch_size, test_loss_fn)
        self.sample_wise_grads_per_batch = sample_wise_grads_per_batch
        self.layer_modules = None if layers is None else [model.get_submodule(name) for name in layers]

    def influence(
        self, inputs: Any, k: int | None = None, proponents: bool = True, show_progress: bool = False, aggregate: bool = False
    ) -> Tensor | KMostInfluentialResults:
        """Return scores of all training rows, (Q, N), or of the k highest (lowest) of each test row.

        `inputs`: a batch (arguments of the model, then labels) or a loader of such. `aggregate`: for the sum over the test rows, (1, N).
        """
        return self._influence(inputs, k, proponents, show_progress, aggregate)

    def compute_intermediate_quantities(self, inputs: Any, aggregate: bool = False) -> Tensor:
        """Return vectors whose products are scores, (rows, checkpoints x parameters): root of the step size times gradient.

        Of the training loss. `aggregate`: their sum, (1, ...). Frozen parameters have entries 0.
        """
        parts = []
        with self._standing():
            for checkpoint in self.checkpoints:
                bound, rate = self._at(checkpoint)
                rows = torch.cat([self._vectors(bound, n, found) for n, found in self._features(bound, inputs, self.loss_fn)])
                parts.append(rate**0.5 * (rows.sum(0, keepdim=True) if aggregate else rows))
        return torch.cat(parts, dim=1)

    def _vectors(self, bound: Borrowed, n: int, found: dict[int, Feature]) -> Tensor:
        nothing = bound.flat.new_zeros(n, 1)
        return torch.cat([found[k].dense if k in found else nothing.expand(n, bound.params[k].numel()) for k in self._places(bound)], 1)


class TracInCPFast(TracInCPBase):
    """TracIn over the parameters of one layer, usually the last: no gradient goes further back than that layer."""

    def __init__(
        self,
        model: nn.Module,
        final_fc_layer: nn.Module | str,
        train_dataset: Dataset[Any] | DataLoader[Any],
        checkpoints: str | Iterable[Any],
        checkpoints_load_func: Callable[..., float] = load_checkpoint,
        loss_fn: Any = None,
        batch_size: int | None = 1,
        test_loss_fn: Any = None,
        vectorize: bool = False,
    ) -> None:
        super().__init__(model, train_dataset, checkpoints, checkpoints_load_func, loss_fn, batch_size, test_loss_fn)
        self.vectorize = vectorize
        self.final_fc_layer = final_fc_layer

    @property
    def final_fc_layer(self) -> Any:
        """The layer."""
        assert self.layer_modules is not None
        return self.layer_modules[0]

    @final_fc_layer.setter
    def final_fc_layer(self, layer: nn.Module | str) -> None:
        try:
            self.layer_modules = [self.model.get_submodule(layer) if isinstance(layer, str) else layer]
        except AttributeError:
            raise ValueError(f'Invalid final_fc_layer str: "{layer}" provided!') from None

    def influence(
        self, inputs: Any, k: int | None = None, proponents: bool = True, show_progress: bool = False
    ) -> Tensor | KMostInfluentialResults:
        """Return scores of all training rows, (Q, N), or of the k highest (lowest) of each test row; `inputs` as `TracInCP` takes them."""
        return self._influence(inputs, k, proponents, show_progress, aggregate=False)


def _held(features: Iterable[tuple[int, dict[int, Feature]]]) -> Iterator[list[dict[int, Feature]]]:
    """Gather blocks of rows to as many as fit into memory."""
    held: list[dict[int, Feature]] = []
    used = 0.0
    for n, found in features:
        size = 8 * n * sum(f.numbers for f in found.values()) / 2**20
        if held and used + size > MEMORY:
            yield held
            held, used = [], 0.0
        held.append(found)
        used += size
    yield held


def _files(folder: str) -> list[Any]:
    """Return the files of a folder, numbers in their names in order of size."""
    key = lambda name: [int(part) if part.isdigit() else part for part in re.split(r"(\d+)", name)]  # noqa: E731
    return sorted((str(path) for path in Path(folder).glob("*")), key=key)


def _bar(source: Any, desc: str, show: bool) -> Any:
    """Return what yields the same, with a progress bar if wanted."""
    if not show:
        return source
    from tqdm import tqdm

    return tqdm(source, desc=desc, total=len(source) if hasattr(source, "__len__") else None, mininterval=0.0)
