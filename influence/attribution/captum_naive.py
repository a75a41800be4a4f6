"""The influence function by a dense Hessian: an adapter on `captum.influence.NaiveInfluenceFunction` (version 0.9).

In mathematics: s_i = <grad l_i, (H + (damping + weight decay) I)^-1 grad F> / N (Koh and Liang, arXiv:1703.04730, section 2.1), H the
Hessian of the mean training loss at the final weights, the inverse taken on the eigenvectors whose eigenvalue, damped, is above `smallest`;
all of them, or the `directions` largest. What is done so that `damping` means the same for every N: `_captum_curvature.py`.

Captum finds eigenvectors by a solver for general matrices. Where eigenvalues repeat, as they do for every softmax (adding the same to all
outputs changes nothing) and every dead unit, those vectors are not orthogonal, and its inverse was off by 57-186 % in logistic models and
small networks. Here Captum's Hessian is decomposed as the symmetric matrix that it is. Its own default keeps the 50 *largest* eigenvalues,
which are those that matter least to an inverse.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, ClassVar

import torch

from influence.attribution._captum_curvature import Given, influence
from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import attribution, option
from influence.types import Examples, Question, Report, Scores, Trained, ignore
from influence.workspace import Workspace

LARGEST = 2000
"""Parameters: the Hessian takes one backward pass for each, its eigenvectors time that grows with the cube."""


@attribution
@dataclass(frozen=True)
class CaptumNaive:
    """The influence function by the whole Hessian, by Captum's own class, to judge others by; for models of up to 2,000 parameters."""

    damping: float = option(0.001, "Added to every eigenvalue of the mean loss's Hessian, besides weight decay", min=0.0, max=10.0)
    directions: int = option(0, "How many of the largest eigenvalues to keep (0: all)", min=0, max=LARGEST, advanced=True)
    smallest: float = option(1e-7, "Eigenvalues of the mean loss's damped Hessian up to this are left out", min=0.0, max=1.0, advanced=True)
    batch: int = option(256, "Training rows at a time", min=1, max=65536, advanced=True)

    calibrated: ClassVar[bool] = False
    needs: ClassVar[str] = "The final weights of a model of up to 2,000 parameters, trained to its end, and one array of inputs."
    cost: ClassVar[str] = "One training epoch for each parameter, once per model; then about one per question."
    passes: ClassVar[int] = 0

    def unavailable(self, trained: Trained) -> str:
        """Say why this model is too large, or ""."""
        p = len(Bound(trained.model).flat)
        if p <= LARGEST:
            return ""
        return (
            f"NaiveInfluenceFunction forms the whole Hessian, parameters by parameters; this model has {p:,}, the limit is {LARGEST:,}. "
            "Choose captum_arnoldi, or tracin."
        )

    def __call__(
        self, trained: Trained, train: Examples, question: Question, report: Report = ignore, workspace: Workspace | None = None
    ) -> Scores:
        """Return scores (N, Q): in the question's unit if training went to its end, else good for ranking.

        Raises:
            BadInput: the model is too large, inputs are named arrays, no eigenvalue is left, or a score is not finite.
        """
        if reason := self.unavailable(trained):
            raise BadInput(reason)
        return influence("captum_naive", self, self._peer, trained, train, question, report, workspace)

    def _peer(self, given: Given) -> Any:
        from captum.influence import NaiveInfluenceFunction
        from captum.influence._core.influence_function import _compute_dataset_func

        class Symmetric(NaiveInfluenceFunction):
            """Captum's, but for the decomposition."""

            def _retrieve_projections_naive_influence_function(self, rows: Any, on_cpu: bool, show: bool) -> torch.Tensor:
                def compute() -> torch.Tensor:
                    hessian = torch.autograd.functional.hessian
                    h = _compute_dataset_func(rows, self.model, self.loss_fn, self.reduction_type, None, hessian, show)
                    return inverse_root(h, self.projection_dim, self.hessian_reg, self.hessian_inverse_tol)

                self.columns = len(found := given.kept(compute))
                return found.T

        n = given.places
        return Symmetric(
            given.module,
            given.rows,
            **given.arguments,
            projection_dim=self.directions or len(given.bound.flat),
            hessian_reg=n * (self.damping + given.decay),
            hessian_inverse_tol=n * self.smallest,
        )


def inverse_root(h: torch.Tensor, k: int, reg: float, smallest: float) -> torch.Tensor:
    """Return R', (columns, P), with R R' the inverse of h + reg on its k largest eigenvalues above `smallest`.

    Raises:
        BadInput: there is none.
    """
    values, vectors = torch.linalg.eigh((h + h.T) / 2)
    values = values + reg
    keep = torch.arange(len(values))[values > smallest][-k:]
    if not len(keep):
        raise BadInput("The Hessian has no positive eigenvalue: the model is at no minimum. Raise damping, or choose tracin.")
    return (vectors[:, keep] / values[keep].sqrt()).T
