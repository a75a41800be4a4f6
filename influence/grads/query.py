"""What a model says of examples, and a question's gradient.

The model is needed through its logits alone: one forward pass, dF/dlogits, and a batched vector-Jacobian product, in O(batch) memory for
any functional.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from influence.errors import BadInput
from influence.loop import Bound, cat, tensors
from influence.types import Examples, Question, tree_map


def logits(bound: Bound, x: Any, batch: int = 4096) -> torch.Tensor:
    """Return the model's outputs in evaluation mode, (M, C), without a graph."""
    bound.module.eval()
    with torch.no_grad():
        return torch.cat([bound.module(fitted(bound, part(x, cut))) for cut in slices(x, batch)])


def fitted(bound: Bound, x: Any) -> Any:
    """Return inputs as the model takes them: on its device, floating numbers in its precision."""
    like = bound.flat
    return tree_map(lambda t: t.to(like.device, like.dtype if t.is_floating_point() else None), x)  # type: ignore[attr-defined]


def slices(x: Any, batch: int) -> list[slice]:
    """Cut the leading dimension of `x` into consecutive slices."""
    n = len(next(iter(x.values())) if isinstance(x, dict) else x)
    return [slice(start, min(start + batch, n)) for start in range(0, n, batch)]


def part(x: Any, cut: slice | torch.Tensor) -> Any:
    """Return the rows of `x` at a slice or at positions."""
    return tree_map(lambda leaf: leaf[cut], x)


def outputs(bound: Bound, examples: Examples) -> torch.Tensor:
    """Return the model's outputs on examples, (M, C)."""
    return logits(bound, tensors(examples, bound.dtype)[0])


def by_logits(bound: Bound, question: Question, batch: int = 4096) -> tuple[Any, torch.Tensor, torch.Tensor]:
    """Return the question's inputs x, its values (Q,), and their derivatives by the outputs, (Q, M, C)."""
    x, _ = tensors(question.examples, bound.dtype)
    seen = logits(bound, x, batch).cpu().requires_grad_()  # the question's labels and groups are on the CPU
    values = question.value(seen)
    return x, values.detach(), torch.stack([torch.autograd.grad(value, seen, retain_graph=True)[0] for value in values])


def query_gradient(
    bound: Bound, question: Question, batch: int = 4096, wanted: Sequence[torch.Tensor] | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return the question's values (Q,) and its gradient (Q, P) at the module's parameters, or by other tensors of the module.

    Frozen parameters have gradient 0. Rows on which no value depends cost one forward pass only.

    Raises:
        BadInput: a value or gradient is not finite.
    """
    x, values, outward = by_logits(bound, question, batch)
    used = outward.flatten(2).any(2).any(0).nonzero()[:, 0] if len(outward) else torch.zeros(0, dtype=torch.int64)
    wanted = bound.params if wanted is None else wanted
    live = [tensor for tensor in wanted if tensor.requires_grad]
    dtype = torch.promote_types(bound.flat.dtype, torch.float32)
    total = torch.zeros(len(values), sum(tensor.numel() for tensor in wanted), dtype=dtype, device=bound.flat.device)
    for cut in used.split(batch) if live else ():
        out, by_row = bound.module(fitted(bound, part(x, cut))), outward[:, cut].to(bound.flat.device)
        asked = [q for q, at in enumerate(by_row) if at.any()]
        for q in asked:
            grads = iter(torch.autograd.grad(out, live, by_row[q], retain_graph=q != asked[-1], allow_unused=True))
            each = [next(grads) if tensor.requires_grad else None for tensor in wanted]
            total[q] += cat([torch.zeros_like(t) if g is None else g for g, t in zip(each, wanted, strict=True)])
    if not torch.isfinite(total).all():
        raise BadInput("The question's gradient is not finite: the model overflows. Train with a smaller step size or in float64.")
    return values, total
