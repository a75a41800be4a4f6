"""What in a row the model's answer rests on: integrated gradients, by Captum.

Sundararajan, Taly and Yan, Axiomatic Attribution for Deep Networks, ICML 2017, arXiv:1703.01365. Along the straight way from a baseline b
to the row x the gradient is summed up, for each input i

    a_i = (x_i - b_i) * integral over t in (0, 1) of dF/dx_i(b + t (x - b))

so that all a_i together are F(x) - F(b) (completeness). The integral is a sum over steps; these are doubled until completeness holds.
Baseline of measurements and pixels: the mean of the training rows. Of tokens: padding in place of every token, with the mask of the row as
it is; the way leads through the vectors that stand for tokens.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from captum.attr import IntegratedGradients
from torch import nn

from influence.errors import BadInput
from influence.loop import Bound
from influence.types import Event, Report, ignore

FIRST, MOST = 64, 1024
"""Steps of the way at first, and at most."""
CLOSE = 0.005
"""Completeness holds if what is missing is no more than this share of what the parts are in size."""
AT_A_TIME = 2**24
"""Numbers of inputs that are looked at together, for the width of a model's layers times twenty."""
Value = Callable[[torch.Tensor], torch.Tensor]


@dataclass(frozen=True)
class Parts:
    """`values`: what each input adds (shape of one row; of tokens (T,)). They add up to `value` - `baseline`, but for `gap`."""

    values: np.ndarray
    value: float
    baseline: float
    steps: int

    @property
    def gap(self) -> float:
        """How far the parts are from adding up: |sum - (value - baseline)|."""
        return float(abs(self.values.sum() - (self.value - self.baseline)))

    @property
    def complete(self) -> bool:
        """Whether the parts add up, but for a small share of what they are."""
        return self.gap <= CLOSE * float(np.abs(self.values).sum()) + 1e-6


def of_numbers(bound: Bound, x: torch.Tensor, baseline: torch.Tensor, value: Value, report: Report = ignore) -> Parts:
    """Return what each input of a row adds, along the way from a baseline; x and baseline (*inputs).

    `value`: of outputs (B, C) -> (B,), such as the log-odds of a class.

    Raises:
        BadInput: what comes out is not finite.
    """
    x, baseline = (part.to(bound.flat.device, bound.flat.dtype)[None] for part in (x, baseline))
    return _integrated(lambda rows: value(bound.module(rows)), x, baseline, report)


def of_tokens(bound: Bound, x: torch.Tensor, kept: torch.Tensor, value: Value, report: Report = ignore) -> Parts:
    """Return what each token of a text adds, (T,), along the way from padding; x: (T,) ids, 0 for none.

    `kept`: (T,) bool, tokens that stand in the baseline too, such as those that a tokenizer adds to every text: they add nothing.

    Raises:
        BadInput: the model looks tokens up in no one table of vectors, or what comes out is not finite.
    """
    x = x.to(bound.flat.device)[None]
    padding = torch.where(kept.to(x.device), x, torch.zeros_like(x))
    with _Looked(bound.module, x, padding).instead() as looked:
        there, none = looked.vectors

        def answered(vectors: torch.Tensor) -> torch.Tensor:
            looked.given = vectors
            return value(bound.module(x.expand(len(vectors), -1)))

        found = _integrated(answered, there, none, report)
    return Parts(found.values.sum(-1), found.value, found.baseline, found.steps)


def _integrated(answered: Value, x: torch.Tensor, baseline: torch.Tensor, report: Report) -> Parts:
    """Go the way in more and more steps, until the parts add up.

    Raises:
        BadInput: what comes out is not finite.
    """
    with torch.no_grad():
        value, start = float(answered(x)[0]), float(answered(baseline)[0])
    together, steps = max(1, min(256, AT_A_TIME // (20 * x.numel()))), FIRST
    while True:
        report(Event("features", steps, MOST, f"{steps} steps"))
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Captum warns of inputs that it makes differentiable
            found = IntegratedGradients(answered, multiply_by_inputs=True).attribute(
                x, baseline, n_steps=steps, internal_batch_size=together
            )
        parts = Parts(found[0].detach().cpu().to(torch.float64).numpy(), value, start, steps)
        if not np.isfinite(parts.values).all() or not np.isfinite([value, start]).all():
            raise BadInput("What the inputs add is not finite: the model overflows. Train with a smaller step size or in float64.")
        if parts.complete or steps >= MOST:
            return parts
        steps *= 2


class _Looked:
    """The table in which a model looks tokens up, and what it finds there: `vectors` of a text and of its baseline, (1, T, W) each."""

    def __init__(self, module: nn.Module, x: torch.Tensor, padding: torch.Tensor) -> None:
        self.given: torch.Tensor | None = None
        self.layer = _table(module, x)
        self.vectors = self._of(module, x), self._of(module, padding)

    def _of(self, module: nn.Module, x: torch.Tensor) -> torch.Tensor:
        seen: list[torch.Tensor] = []
        hook = self.layer.register_forward_hook(lambda _m, _given, out: seen.append(out.detach()))
        try:
            with torch.no_grad():
                module(x)
        finally:
            hook.remove()
        if len(seen) != 1 or seen[0].shape[:2] != x.shape:
            raise BadInput("This model looks its tokens up in an unusual way, so that no way leads through their vectors.")
        return seen[0]

    @contextmanager
    def instead(self) -> Iterator[_Looked]:
        """Let the model find other vectors: those in `given`.

        Yields:
            Itself.
        """
        hook = self.layer.register_forward_hook(lambda _m, _given, out: out if self.given is None else self.given)
        try:
            yield self
        finally:
            hook.remove()


def _table(module: nn.Module, x: torch.Tensor) -> nn.Module:
    """Return the table of vectors of tokens: the one that the library names, or the only one that is asked for something else by other ids.

    Raises:
        BadInput: there is no such table.
    """
    named: Any = getattr(module, "get_input_embeddings", None)
    if callable(named):
        table: nn.Module = named()
        return table
    tables = [layer for layer in module.modules() if isinstance(layer, nn.Embedding)]
    asked: list[list[torch.Tensor]] = [[] for _ in tables]
    hooks = [
        layer.register_forward_hook(lambda _m, given, _out, place=place: asked[place].append(given[0].detach().clone()))
        for place, layer in enumerate(tables)
    ]
    try:
        with torch.no_grad():
            module(x)
            module(torch.zeros_like(x))
    finally:
        for hook in hooks:
            hook.remove()
    moved = [layer for layer, ids in zip(tables, asked, strict=True) if len(ids) == 2 and not torch.equal(*ids)]
    if len(moved) != 1:
        raise BadInput("This model does not look its tokens up in one table of vectors, so that no way leads through these.")
    return moved[0]
