"""The influence function in a Krylov space: an adapter on Captum's `ArnoldiInfluenceFunction` (version 0.9).

In mathematics (Schioppa et al., Scaling Up Influence Functions, arXiv:2112.03052): from a random start, `steps` products with the Hessian
of all training rows span a Krylov space; with l_j and u_j the `directions` largest eigenvalues of the Hessian restricted to it,

    s_i = 1/N sum over j of <grad l_i, u_j> <u_j, grad F> / (l_j + damping + weight decay).

Directions outside are ignored, and with them all of low curvature: a good ranking where the large eigenvalues carry the influence, not
otherwise. What is done so that `damping` and tolerances mean the same for every N: `_captum_curvature.py`. Besides:

- Captum discards the last vector of the space: it is asked for one more. (Where the space is exhausted before, it still loses one.)
- When the space is exhausted to rounding, it goes on with noise that is not orthogonal to the rest, and counts directions twice: steps
  are limited to the number of parameters, and vectors that are not orthogonal are refused.
- It is not exported by `captum.influence`. Vectors of the space take (steps + directions) x parameters numbers: refused beyond the budget.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from influence.attribution._captum_curvature import Given, influence
from influence.errors import BadInput
from influence.loop import Bound, cat
from influence.registry import attribution, option
from influence.types import Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace

ORTHOGONAL = 1e-3
"""Largest cosine between two vectors that count as orthogonal."""


@attribution
@dataclass(frozen=True)
class CaptumArnoldi:
    """The influence function on the directions in which the loss curves most, by Captum's own class; good for ranking only."""

    damping: float = option(0.001, "Added to every eigenvalue of the mean loss's Hessian, besides weight decay", min=0.0, max=10.0)
    steps: int = option(200, "Products with the Hessian: the size of the Krylov space", min=2, max=5000)
    directions: int = option(50, "How many of its largest eigenvalues to keep", min=1, max=5000)
    smallest: float = option(1e-7, "Eigenvalues of the mean loss's damped Hessian up to this are left out", min=0.0, max=1.0, advanced=True)
    exhausted: float = option(1e-6, "The space ends where a new vector is shorter than this", min=0.0, max=1.0, advanced=True)
    seed: int = option(0, "Of the start", min=0, max=2**31 - 1, advanced=True)
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "The final weights, one array of inputs, and memory for steps x parameters numbers."
    cost: ClassVar[str] = "About four training epochs for each step, once per model; then a few per question."

    @property
    def passes(self) -> int:
        """Passes over the training rows before the first score."""
        return self.steps + 1

    def unavailable(self, trained: Trained) -> str:
        """Always "": the size of the Krylov space decides, and the memory."""
        return ""

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q).

        Raises:
            BadInput: the space does not fit into memory or is not orthogonal, inputs are named arrays, no eigenvalue is left, or a score is
                not finite.
        """
        workspace = workspace or Workspace()
        bound = Bound(trained.model, dtype=trained.recipe.dtype if trained.recipe else "float32")
        needed = (self.steps + 2 * self.directions + 4) * len(bound.flat) * bound.flat.element_size() / 2**20
        if needed > workspace.memory:
            raise BadInput(
                f"ArnoldiInfluenceFunction keeps {self.steps} vectors of {len(bound.flat):,} parameters, {needed:,.0f} MiB with what "
                f"follows from them; {workspace.memory:,.0f} MiB may be used. Lower steps and directions, or raise INFLUENCE_MEMORY."
            )
        return influence("captum_arnoldi", self, self._peer, trained, train, question, report, workspace)

    def _peer(self, given: Given) -> Any:
        from captum.influence._core.arnoldi_influence_function import ArnoldiInfluenceFunction

        class Kept(ArnoldiInfluenceFunction):
            """Captum's; what it computes is checked, kept, and found again."""

            def _retrieve_projections_arnoldi_influence_function(self, *rest: Any) -> list[tuple[torch.Tensor, ...]]:
                compute = super()._retrieve_projections_arnoldi_influence_function
                found = given.kept(lambda: orthogonal(torch.stack([cat(columns) for columns in compute(*rest)])))
                self.columns = len(found)
                return [tuple(given.bound.views(row)) for row in found]

        n, p = given.places, len(given.bound.flat)
        try:
            return Kept(
                given.module,
                given.rows,
                **given.arguments,
                projection_dim=min(self.directions, p),
                seed=self.seed,
                arnoldi_dim=min(self.steps, p) + 1,
                arnoldi_tol=n * self.exhausted,
                hessian_reg=n * (self.damping + given.decay),
                hessian_inverse_tol=n * self.smallest,
            )
        except Exception as error:
            if "no positive eigenvalues" in str(error) or "basis is empty" in str(error):
                raise BadInput("The Krylov space holds no direction of positive curvature. Raise damping, or choose tracin.") from None
            raise


def orthogonal(r: torch.Tensor) -> torch.Tensor:
    """Return vectors (columns, P) as they are.

    Raises:
        BadInput: two of them are not orthogonal.
    """
    unit = r / r.norm(dim=1, keepdim=True)
    worst = float((unit @ unit.T - torch.eye(len(r), dtype=r.dtype)).abs().max())
    if not worst <= ORTHOGONAL:
        raise BadInput(
            f"Captum's Krylov vectors are not orthogonal (cosine {worst:.2g}): the space was exhausted, and directions would count twice. "
            "Lower steps, raise exhausted, or train in float64."
        )
    return r
