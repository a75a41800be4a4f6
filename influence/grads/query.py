"""What a model says of examples, and a question's gradient.

The model is needed through its logits alone: one forward pass, dF/dlogits, and a batched vector-Jacobian product, in O(batch) memory for
any functional.
"""

from __future__ import annotations

from typing import Any

import torch

from influence.errors import BadInput
from influence.loop import Bound, cat, tensors
from influence.types import Examples, Question, tree_map


def logits(bound: Bound, x: Any, batch: int = 4096) -> torch.Tensor:
    """Return the model's outputs in evaluation mode, (M, C), without a graph."""
    bound.module.eval()
    with torch.no_grad():
        return torch.cat([bound.module(part(x, cut)) for cut in slices(x, batch)])


def slices(x: Any, batch: int) -> list[slice]:
    """Cut the leading dimension of `x` into consecutive slices."""
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return [slice(start, min(start + batch, n)) for start in range(0, n, batch)]


def part(x: Any, cut: slice) -> Any:
    """Return the rows `cut` of `x`."""
    return tree_map(lambda leaf: leaf[cut], x)


def outputs(bound: Bound, examples: Examples) -> torch.Tensor:
    """Return the model's outputs on examples, (M, C)."""
    return logits(bound, tensors(examples, str(bound.flat.dtype).removeprefix("torch."))[0])


def query_gradient(bound: Bound, question: Question, batch: int = 4096) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the question's values (Q,) and its gradient (Q, P) at the module's parameters.

    Raises:
        BadInput: a value or gradient is not finite.
    """
    x, _ = tensors(question.examples, str(bound.flat.dtype).removeprefix("torch."))
    seen = logits(bound, x, batch).requires_grad_()
    values = question.value(seen)
    by_logits = torch.stack([torch.autograd.grad(value, seen, retain_graph=True)[0] for value in values])
    total = torch.zeros(len(values), len(bound.flat), dtype=bound.flat.dtype)
    for cut in slices(x, batch):
        out = bound.module(part(x, cut))
        for q, at in enumerate(by_logits[:, cut]):
            total[q] += cat(torch.autograd.grad(out, bound.params, at, retain_graph=q + 1 < len(values)))
    if not torch.isfinite(total).all():
        raise BadInput("The question's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
    return values.detach(), total
