"""The six values and the arrows between them.

Letters used throughout: N training examples, M evaluation examples, Q query values, P parameters, C outputs,
B batch, K checkpoints, T optimiser steps.

``Examples + Trained --Question--> Scores --rule--> Selection --unlearner--> Trained``; each arrow is a pure function.
Nothing here imports PyTorch: pages read these values in a process that never computes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Protocol, TypeAlias

import numpy as np
import pandas as pd

from influence.digest import digest
from influence.errors import BadInput
from influence.registry import option, settings

if TYPE_CHECKING:
    import torch
    from torch import nn

State: TypeAlias = "dict[str, torch.Tensor]"
"""Parameters and buffers by name, as `nn.Module.state_dict` gives them."""

Tree: TypeAlias = np.ndarray | Mapping[str, np.ndarray]
"""Model inputs: one array, or arrays by name; each with N leading."""


@dataclass(frozen=True)
class Event:
    """One step of progress: `done` of `total` in `stage`, with a note and the metrics measured at that moment."""

    stage: str
    done: int
    total: int
    note: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)


Report: TypeAlias = Callable[[Event], None]


def ignore(event: Event) -> None:
    """Take no notice of progress: the default `Report`."""


def tree_map(function: Callable[[np.ndarray], Any], x: Tree) -> Any:
    """Apply `function` to the array, or to each named array, keeping the names."""
    return {name: function(leaf) for name, leaf in x.items()} if isinstance(x, Mapping) else function(x)


def leaves(x: Tree) -> list[np.ndarray]:
    """Return the arrays of `x` in the order of their names."""
    return [x[name] for name in sorted(x)] if isinstance(x, Mapping) else [x]


@dataclass(frozen=True)
class Examples:
    """Rows of data: what the model sees, what it should say, who each row is, and what people know about it.

    `x`: a tree of arrays, N leading. `y`: (N,), int64 places in `classes`, or float32 for a numeric target.
    `ids`: N distinct integers or strings; examples are referred to by id, never by position.
    `columns`: a table of N rows for people (raw features, groups, text, paths); the model never sees it.
    `classes`: names of the C classes in sorted order; empty for a numeric target. `positive`: the class of which rates and gaps speak, ""
    for the last.

    Raises:
        BadInput: lengths differ, ids repeat, or y does not fit the classes.
    """

    x: Tree
    y: np.ndarray
    ids: np.ndarray
    columns: pd.DataFrame
    classes: tuple[str, ...] = ()
    positive: str = ""

    def __post_init__(self) -> None:
        n = len(self.ids)
        lengths = {len(self.y), len(self.columns), *(len(leaf) for leaf in leaves(self.x))}
        if lengths != {n}:
            raise BadInput(f"x, y, columns and ids must have one length; got {sorted(lengths | {n})}.")
        if len(pd.unique(self.ids)) != n:
            raise BadInput("Ids must be distinct; some repeat. Choose another id column, or none to number the rows.")
        if self.classes and n and not (0 <= int(self.y.min()) and int(self.y.max()) < len(self.classes)):
            raise BadInput(f"Labels must be places 0 to {len(self.classes) - 1} in the list of classes.")

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def outputs(self) -> int:
        """C: how many outputs a model of these examples has (1 for a numeric target)."""
        return len(self.classes) or 1

    @property
    def favourable(self) -> str:
        """The class of which rates and gaps speak unless a question names another; "" for a numeric target."""
        return self.positive or (self.classes[-1] if self.classes else "")

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of one input, without N."""
        return tuple(leaves(self.x)[0].shape[1:])

    def take(self, places: np.ndarray) -> Examples:
        """Return the rows at a mask or at positions, ids kept."""
        table = self.columns.iloc[np.flatnonzero(places) if places.dtype == bool else places]
        x = tree_map(lambda leaf: leaf[places], self.x)
        return Examples(x, self.y[places], self.ids[places], table.reset_index(drop=True), self.classes, self.positive)

    def mask(self, ids: Iterable[Any]) -> np.ndarray:
        """Return which rows carry one of `ids`, (N,) bool.

        Raises:
            BadInput: an id is not among these examples.
        """
        given = list(ids)
        try:
            wanted = pd.Index(given, dtype=self.ids.dtype if self.ids.dtype.kind in "iu" else object)
        except (TypeError, ValueError, OverflowError):
            shown = ", ".join(map(str, given[:3]))
            raise BadInput(f"These rows have whole numbers for ids; got {shown}. Give ids as the data set has them.") from None
        own = pd.Index(self.ids, dtype=wanted.dtype)
        unknown = wanted.difference(own)
        if len(unknown):
            shown = ", ".join(map(str, unknown[:3]))
            raise BadInput(f"{len(unknown)} of {len(wanted)} ids are not among the {len(self)} rows, for example {shown}.")
        return own.isin(wanted)

    def without(self, selection: Selection) -> Examples:
        """Return the rows that the selection does not name."""
        return self.take(~self.mask(selection.ids))

    @cached_property
    def digest(self) -> str:
        """Identity by content."""
        stated = {"positive": self.positive} if self.positive else {}  # data of which nobody said it stay what they were
        return digest({"x": self.x, "y": self.y, "ids": self.ids, "columns": self.columns, "classes": self.classes, **stated})


@dataclass(frozen=True)
class Course:
    """A handle to the course that a training outside Lethe took: where it began, and what each of its T steps saw.

    `of`: digest of the one recipe that it belongs to; another seed or setting is another training from the same first weights, laid out
    anew.
    `load()`: `start` (P + floating buffers,), the weights before the first step; `ids` of all rows that had a place, (N,); `places` in
    `ids` of one step after another, and the `sizes` of the steps (T,); `lr`, their step sizes (T,); of texts that were padded batch by
    batch also `widths`, how many tokens each step saw (T,).
    """

    digest: str
    of: str
    load: Callable[[], Mapping[str, np.ndarray]] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Recipe:
    """How a model is trained. Training is a pure function of (model, examples, recipe, weights)."""

    loss: Literal["cross_entropy", "squared", "huber"] = option("cross_entropy", "Per-example loss", advanced=True)
    optimizer: Literal["sgd", "adam", "adamw"] = option("sgd", "SGD with momentum, Adam, or AdamW")
    lr: float = option(0.05, "Step size at the start (one_cycle: the largest)", min=1e-6, max=10.0)
    momentum: float = option(0.9, "SGD: momentum", min=0.0, max=0.999)
    nesterov: bool = option(False, "SGD: Nesterov's momentum", advanced=True)
    weight_decay: float = option(1e-4, "Weight decay (SGD, Adam: in the gradient; AdamW: decoupled)", min=0.0, max=1.0)
    decayed: Literal["all", "matrices"] = option(
        "all", "AdamW: what decays; matrices: not biases and scales, as trainers of transformers do", advanced=True
    )
    beta1: float = option(0.9, "Adam, AdamW: memory of the mean gradient", min=0.0, max=0.999, advanced=True)
    beta2: float = option(0.999, "Adam, AdamW: memory of the squared gradient", min=0.0, max=0.99999, advanced=True)
    eps: float = option(1e-8, "Adam, AdamW: added to the root", min=0.0, max=1.0, advanced=True)
    eps_root: float = option(0.0, "Adam, AdamW: added inside the root; 1e-8 makes training smooth", min=0.0, max=1.0, advanced=True)
    max_norm: float = option(
        0.0, "Longest gradient of a batch, by its global norm; longer ones are scaled down (0: none is)", min=0.0, max=1e6, advanced=True
    )
    schedule: Literal["constant", "linear", "cosine", "step", "exponential", "polynomial", "one_cycle"] = option(
        "linear", "How the step size changes: as PyTorch's scheduler of that name"
    )
    gamma: float = option(0.1, "step, exponential: factor of the step size", min=0.0001, max=1.0, advanced=True)
    step_size: int = option(30, "step: epochs between two falls (exponential: it falls after each)", min=1, max=1000, advanced=True)
    power: float = option(2.0, "polynomial: power of the share of steps left", min=0.1, max=10.0, advanced=True)
    pct_start: float = option(0.3, "one_cycle: share of the steps over which the step size rises", min=0.01, max=0.99, advanced=True)
    warmup: float = option(0.0, "Share of the steps over which the step size rises from zero", min=0.0, max=0.9, advanced=True)
    batch_size: int = option(256, "Rows per step", min=1, max=65536)
    epochs: int = option(8, "Passes over the training rows", min=1, max=1000)
    checkpoints: int = option(5, "How many checkpoints to keep for TracIn", min=1, max=100, advanced=True)
    seed: int = option(0, "Initial weights, the order of rows, and what the model draws (dropout)", min=0, max=2**31 - 1)
    dtype: Literal["float32", "float64"] = option("float32", "Number format", advanced=True)
    threads: int = option(1, "CPU threads; part of what makes a run bit-equal", min=1, max=256, advanced=True)
    shards: int = option(
        1, "SISA: models to train, each on its own part of the rows; the mean of them answers", min=1, max=1000, advanced=True, later=True
    )
    slices: int = option(1, "SISA: parts in which each shard's rows come in, one after another", min=1, max=1000, advanced=True, later=True)
    course: Course | None = None

    @property
    def given(self) -> dict[str, Any]:
        """All settings by name, as JSON."""
        return {s.name: getattr(self, s.name) for s in settings(Recipe)}

    @property
    def sharded(self) -> bool:
        """Whether several models are trained, each on its own shard of the rows, or one slice after another (`influence.shards`)."""
        return self.shards > 1 or self.slices > 1

    def in_shards(self, what: str, instead: str) -> str:
        """Return why `what`, which needs one model trained on all rows at once, is closed to shards, and what to do; or ""."""
        if not self.sharded:
            return ""
        parts = f"{self.shards} shards" if self.shards > 1 else f"{self.slices} slices"
        return (
            f"{what} needs one model trained on all rows together; this one was trained in {parts}. Choose {instead}, or train with shards "
            "and slices at 1."
        )

    @cached_property
    def went(self) -> Course | None:
        """The course, if it is this training's: not that of the recipe from which this one was made by changing something."""
        return self.course if self.course is not None and self.course.of == digest(replace(self, course=None)) else None


class Architecture(Protocol):
    """A frozen dataclass of settings that builds a module when called."""

    @property
    def inputs(self) -> tuple[int, ...]:
        """Shape of one input."""

    @property
    def outputs(self) -> int:
        """C: how many outputs there are."""

    def __call__(self) -> nn.Module:
        """Build the module, (B, *inputs) -> (B, outputs); its weights are drawn from torch's generator."""


@dataclass(frozen=True)
class Checkpoint:
    """A handle to one kept state: its digest, the step it was taken at, the step size there, and its loader."""

    digest: str
    step: int
    lr: float
    load: Callable[[], State] = field(repr=False, compare=False)


@dataclass(frozen=True)
class Trajectory:
    """A handle to a recorded training: (T, P) parameters before each step, and the optimiser's slots if it needs them."""

    digest: str
    load: Callable[[], Mapping[str, np.ndarray]] = field(repr=False, compare=False)


Claim: TypeAlias = Literal["trained", "L0", "L1", "L2", "L3"]
"""trained: by its recipe; L0: rows filtered only; L1: approximate; L2: exact by construction; L3: (ε, δ)-certified."""


@dataclass(frozen=True)
class Trained:
    """A model and how it came to be. Holds no tensors: checkpoints load when asked.

    `recipe` is None for a model whose training cannot be replayed. `removed`: ids that keep their empty places in the training order.
    """

    model: Architecture
    checkpoints: tuple[Checkpoint, ...]
    recipe: Recipe | None
    claim: Claim = "trained"
    trajectory: Trajectory | None = None
    removed: tuple[Any, ...] = ()

    @property
    def final(self) -> Checkpoint:
        """The last checkpoint: the model itself."""
        return self.checkpoints[-1]

    def in_shards(self, what: str, instead: str) -> str:
        """Return why `what` is closed to a model trained in shards, also to one brought without its recipe (`Recipe.in_shards`), or ""."""
        return (self.recipe or Recipe(shards=getattr(self.model, "members", 1))).in_shards(what, instead)

    @cached_property
    def digest(self) -> str:
        """Identity: architecture, recipe, claim and the digests of the checkpoints."""
        kept = [(c.digest, c.step, c.lr) for c in self.checkpoints]
        return digest({"model": self.model, "recipe": self.recipe, "claim": self.claim, "kept": kept, "removed": self.removed})


class Query(Protocol):
    """A question about a model's outputs: settings only, a frozen dataclass.

    `better` says which way is an improvement. `value` is differentiable; `measured` is the hard metric that people read.
    """

    better: ClassVar[Literal["lower", "higher", "neither"]]

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the Q values."""

    @property
    def measured_label(self) -> str:
        """Name of the hard metric."""

    def oriented(self, logits: torch.Tensor, examples: Examples) -> Query:
        """Fix what depends on the model asked about (extreme groups, bin edges), so that the value is a fixed functional."""

    def value(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """Differentiable value, (M, C) -> (Q,)."""

    def measured(self, logits: torch.Tensor, examples: Examples) -> torch.Tensor:
        """The metric that people read, (M, C) -> (Q,)."""


@dataclass(frozen=True)
class Question:
    """Queries and the evaluation examples of which they are asked; its identity is the digests of both."""

    queries: tuple[Query, ...]
    examples: Examples

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of all Q values."""
        return tuple(label for query in self.queries for label in query.labels)

    def value(self, logits: torch.Tensor) -> torch.Tensor:
        """Differentiable values of all queries, (M, C) -> (Q,)."""
        import torch

        return torch.cat([query.value(logits, self.examples) for query in self.queries])

    def measured(self, logits: torch.Tensor) -> torch.Tensor:
        """Hard values of all queries, (M, C) -> (Q,)."""
        import torch

        return torch.cat([query.measured(logits, self.examples) for query in self.queries])

    def oriented(self, logits: torch.Tensor) -> Question:
        """Orient every query on the model asked about."""
        return Question(tuple(query.oriented(logits, self.examples) for query in self.queries), self.examples)

    @cached_property
    def digest(self) -> str:
        """Identity: the queries' settings and the examples' content."""
        return digest({"queries": list(self.queries), "examples": self.examples.digest})


SIGN = "Predicted change of the metric if this row is removed"


@dataclass(frozen=True)
class Scores:
    """Predicted change of each query value if an example is removed: `values` (N, Q), negative = removal lowers the value.

    `calibrated`: in the query's own unit; otherwise good for ranking only.

    Raises:
        BadInput: a value is not finite, or the shapes do not agree.
    """

    values: np.ndarray
    ids: np.ndarray
    labels: tuple[str, ...]
    method: str
    calibrated: bool

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.ids), len(self.labels)):
            raise BadInput(f"Scores must be ({len(self.ids)}, {len(self.labels)}); got {self.values.shape}.")
        bad = int((~np.isfinite(self.values)).sum())
        if bad:
            raise BadInput(
                f"{bad} of {self.values.size} scores of {self.method} are not finite: training diverged or the model overflows. "
                "Lower the step size or train in float64."
            )

    def column(self, label: str | int = 0) -> np.ndarray:
        """Return one question's scores, (N,)."""
        return self.values[:, label if isinstance(label, int) else self.labels.index(label)]


Action: TypeAlias = Literal["remove", "relabel", "weight"]


@dataclass(frozen=True)
class Selection:
    """Rows chosen, what to do with them, and why: the only bridge from explaining to removing.

    `reason` is a rule that can be replayed and the digests it was applied to; it holds no cell values unless the rule names them.
    `labels`: to relabel, each row's new label, a class's name or a number, in the order of the ids.
    """

    ids: tuple[Any, ...]
    action: Action = "remove"
    reason: Mapping[str, Any] = field(default_factory=dict)
    labels: tuple[Any, ...] = ()

    def __len__(self) -> int:
        return len(self.ids)

    def without(self, gone: Iterable[Any]) -> Selection:
        """Return the selection without the rows that are gone already, by the same reason."""
        out = set(gone)
        stay = [place for place, id in enumerate(self.ids) if id not in out]
        if len(stay) == len(self):
            return self
        return replace(self, ids=tuple(self.ids[k] for k in stay), labels=tuple(self.labels[k] for k in stay) if self.labels else ())

    @cached_property
    def digest(self) -> str:
        """Identity: the ids as a set, the action, and the new labels if there are any."""
        labels = {"labels": sorted(zip(map(str, self.ids), map(str, self.labels), strict=True))} if self.labels else {}
        return digest({"ids": sorted(map(str, self.ids)), "action": self.action, **labels})


def as_places(ids: Sequence[Any] | np.ndarray, roll: np.ndarray) -> np.ndarray:
    """Return where each id stands in `roll`, -1 where it does not, as int64."""
    return pd.Index(roll).get_indexer(pd.Index(ids)).astype(np.int64)
