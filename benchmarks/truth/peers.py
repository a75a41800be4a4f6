"""dattri's methods (https://github.com/TRAIS-Lab/dattri, version 0.3) on our truth, as in its benchmark.

Each returns scores (N, Q): the predicted change of the target of test row q if training row i is removed; dattri's sign is the other way
round for influence functions and the like (a score is what inclusion does for the row). The target is the cross-entropy, except for TRAK,
whose target is the margin. `full`: state dicts of models trained on all rows; `half`: on halves of them.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

State = Mapping[str, torch.Tensor]
DAMPINGS = (1.0, 0.1, 0.01, 5e-3, 1e-3, 1e-4, 1e-5)
"""Among which dattri's benchmark takes the one that is best by the test rows' own truth."""
DIMENSION = 512


@dataclass(frozen=True)
class Problem:
    """A model and its rows as dattri takes them. `eta`: step size of each checkpoint of `path`."""

    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    full: Sequence[State]
    half: Sequence[State] = ()
    path: Sequence[State] = ()
    eta: Sequence[float] = ()

    def loader(self, test: bool = False, size: int | None = None) -> DataLoader[Any]:
        """Rows in their order, all in one batch unless `size` is given."""
        x, y = (self.test_x, self.test_y) if test else (self.x, self.y)
        return DataLoader(TensorDataset(x, y), size or len(y), shuffle=False)

    def task(self, states: Sequence[State], margin: bool = False) -> Any:
        """Return dattri's task of these models."""
        from dattri.task import AttributionTask

        def loss(params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return F.cross_entropy(*self._called(params, data))

        def odds(params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            ce = F.cross_entropy(*self._called(params, data))
            return -ce - torch.log(-torch.expm1(-ce) + 1e-12)

        return AttributionTask(odds if margin else loss, self.module, [dict(state) for state in states])

    def _called(self, params: State, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (part[None] if data[1].dim() == 0 else part for part in data)
        return torch.func.functional_call(self.module, dict(params), (x,)), y

    def probability(self) -> Callable[..., torch.Tensor]:
        """Return dattri's function of the probability of the right class."""
        from dattri.func.utils import flatten_func

        @flatten_func(self.module)
        def p(params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return torch.exp(-F.cross_entropy(*self._called(params, data)))

        return p


@contextmanager
def quiet() -> Any:
    """Keep dattri's warnings and bars from the screen."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


def gradients(problem: Problem, states: Sequence[State], eta: Sequence[float], cosine: bool = False) -> np.ndarray:
    """TracIn over checkpoints with their step sizes; with one model and eta 1 Grad-Dot, and Grad-Cos with `cosine`."""
    from dattri.algorithm.tracin import TracInAttributor

    attributor = TracInAttributor(problem.task(states), torch.tensor(list(eta)), normalized_grad=cosine, device="cpu")
    return attributor.attribute(problem.loader(size=500), problem.loader(test=True)).detach().numpy()


def conjugate_gradients(problem: Problem, damping: float) -> np.ndarray:
    """Influence function by conjugate gradients: ten iterations, the rows in one batch (several would add up inverses)."""
    from dattri.algorithm.influence_function import IFAttributorCG

    attributor = IFAttributorCG(problem.task(problem.full[:1]), max_iter=10, regularization=damping, device="cpu")
    attributor.cache(problem.loader())
    return attributor.attribute(problem.loader(), problem.loader(test=True)).detach().numpy()


def ekfac(problem: Problem, damping: float) -> np.ndarray:
    """Influence function by EK-FAC, of Linear layers only."""
    from dattri.algorithm.influence_function import IFAttributorEKFAC

    attributor = IFAttributorEKFAC(problem.task(problem.full[:1]), damping=damping, device="cpu")
    attributor.cache(problem.loader(size=500))
    return attributor.attribute(problem.loader(size=500), problem.loader(test=True)).detach().numpy()


def trak(problem: Problem, states: Sequence[State], dimension: int = DIMENSION) -> np.ndarray:
    """TRAK over these models, gradients projected to `dimension`, no damping."""
    from dattri.algorithm.trak import TRAKAttributor

    projector = {"proj_dim": dimension, "proj_max_batch_size": 32, "proj_seed": 0, "device": "cpu"}
    attributor = TRAKAttributor(
        problem.task(states, margin=True), problem.probability(), projector_kwargs=projector, device="cpu", regularization=0.0
    )
    attributor.cache(problem.loader(size=500))
    return -attributor.attribute(problem.loader(test=True)).detach().numpy()  # what inclusion adds to the margin takes away from the loss


def methods(problem: Problem) -> dict[str, Callable[[], np.ndarray]]:
    """Return what can be asked of a problem, by name; a method with a damping once for each, as "name, damping"."""
    found: dict[str, Callable[[], np.ndarray]] = {
        "dattri Grad-Dot": lambda: gradients(problem, problem.full[:1], [1.0]),
        "dattri Grad-Cos": lambda: gradients(problem, problem.full[:1], [1.0], cosine=True),
        "dattri TRAK-1": lambda: trak(problem, (problem.half or problem.full)[:1]),
    }
    if problem.path:
        found["dattri TracIn"] = lambda: gradients(problem, problem.path, problem.eta)
    if len(problem.half) >= 10:
        found["dattri TRAK-10"] = lambda: trak(problem, problem.half[:10])
    for damping in DAMPINGS:
        found[f"dattri EK-FAC, {damping:g}"] = lambda damping=damping: ekfac(problem, damping)  # type: ignore[misc]
        found[f"dattri IF-CG, {damping:g}"] = lambda damping=damping: conjugate_gradients(problem, damping)  # type: ignore[misc]
    return found
