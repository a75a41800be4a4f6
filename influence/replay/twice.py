"""Second derivatives for several questions at once."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from influence.loop import cat

MOST = 32
"""Questions in one batched double-backward: its intermediate values take their memory so many times."""

CONVOLUTIONS = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)


class Products:
    """Vector-Jacobian products of a step's outputs, for all questions; batched where that is right and quicker.

    Convolutions are quicker one question at a time. Elsewhere the first step's batched products are compared with single ones: PyTorch
    batches some operations wrongly or not at all.
    """

    def __init__(self, module: nn.Module) -> None:
        self.batched = not any(isinstance(layer, CONVOLUTIONS) for layer in module.modules())
        self.checked = False

    def __call__(
        self, outputs: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        """Return d<outputs, vectors>/d wanted, (Q, *shape) for each of `wanted`; `vectors`: (Q, *shape) for each of `outputs`."""
        if len(vectors[0]) > 1 and self.batched:
            try:
                together = self._together(outputs, wanted, vectors)
            except RuntimeError:  # an operation that cannot be batched
                self.batched = False
            else:
                if self.checked or self._right(together, outputs, wanted, vectors):
                    return together
                self.batched = False
        return self._alone(outputs, wanted, vectors)

    def _together(
        self, outputs: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        parts = [
            torch.autograd.grad(outputs, wanted, part, is_grads_batched=True, materialize_grads=True, retain_graph=True)
            for part in zip(*[vector.split(MOST) for vector in vectors], strict=True)
        ]
        return [torch.cat(pieces) if len(parts) > 1 else pieces[0] for pieces in zip(*parts, strict=True)]

    def _alone(
        self, outputs: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]
    ) -> list[torch.Tensor]:
        last = len(vectors[0]) - 1
        parts = [
            torch.autograd.grad(outputs, wanted, one, retain_graph=q < last, materialize_grads=True)
            for q, one in enumerate(zip(*vectors, strict=True))
        ]
        return [torch.stack(pieces) for pieces in zip(*parts, strict=True)]

    def _right(
        self, together: list[torch.Tensor], outputs: Sequence[torch.Tensor], wanted: Sequence[torch.Tensor], vectors: Sequence[torch.Tensor]
    ) -> bool:
        """Whether the last question's products are what they are by themselves."""
        self.checked = True
        truth = torch.autograd.grad(outputs, wanted, [vector[-1] for vector in vectors], retain_graph=True, materialize_grads=True)
        exact, found = cat(truth), cat([product[-1] for product in together])
        return bool((found - exact).norm() <= 1e-3 * exact.norm())
