"""dattri's methods (https://github.com/TRAIS-Lab/dattri, version 0.3) on our truth, called as its own benchmark calls them.

Each returns scores (N, Q): the predicted change of the cross-entropy of test row q if training row i is removed. TRAK's own value is the
margin; what its rows add to that they take away from the cross-entropy, and only ranks count here.
"""

from __future__ import annotations

import io
import logging
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stderr
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

State = Mapping[str, torch.Tensor]
Method = Callable[[], np.ndarray]
DAMPINGS = (1.0, 0.1, 0.01, 5e-3, 1e-3, 1e-4, 1e-5)
"""Among which dattri's benchmark takes the one that is best by the test rows' own truth."""
DIMENSION = 512
BATCH = 2500
"""Training rows at a time: dattri computes the test rows' gradients anew for each batch."""
TOGETHER = 50
"""Test rows at a time where each takes the memory of all training rows."""


@dataclass(frozen=True)
class Problem:
    """A model and its rows as dattri takes them.

    `full`: states of models trained on all rows; `half`: on halves of them. `path`: states on the way of one training, and `eta`, the step
    size of each.
    """

    module: nn.Module
    x: torch.Tensor
    y: torch.Tensor
    test_x: torch.Tensor
    test_y: torch.Tensor
    full: Sequence[State]
    half: Sequence[State] = ()
    path: Sequence[State] = ()
    eta: Sequence[float] = ()

    def loader(self, size: int | None = None) -> DataLoader[Any]:
        """Training rows in their order, all in one batch unless `size` is given."""
        return DataLoader(TensorDataset(self.x, self.y), size or len(self.y), shuffle=False)

    def tests(self, size: int | None = None) -> DataLoader[Any]:
        """Test rows likewise."""
        return DataLoader(TensorDataset(self.test_x, self.test_y), size or len(self.test_y), shuffle=False)

    def task(self, states: Sequence[State], margin: bool = False) -> Any:
        """Return dattri's task of these models; the value is the cross-entropy, or the margin."""
        from dattri.task import AttributionTask

        fresh = replace(self, module=deepcopy(self.module))  # EK-FAC leaves its hooks in the module

        def loss(params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            return F.cross_entropy(*fresh._called(params, data))

        def odds(params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
            z, y = fresh._called(params, data)
            own = y[:, None] == torch.arange(z.shape[1])  # not from the cross-entropy, which is 0 in float32 where a row is well fitted
            return (torch.where(own, z, 0.0).sum(1) - z.masked_fill(own, -torch.inf).logsumexp(1)).mean()

        return AttributionTask(odds if margin else loss, fresh.module, [dict(state) for state in states])

    def _called(self, params: State, data: tuple[torch.Tensor, torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
        x, y = (part[None] if data[1].dim() == 0 else part for part in data)
        return torch.func.functional_call(self.module, dict(params), (x,)), y

    def probability(self, params: State, data: tuple[torch.Tensor, torch.Tensor]) -> torch.Tensor:
        """Probability of the right class."""
        return torch.exp(-F.cross_entropy(*self._called(params, data)))


@contextmanager
def quiet() -> Iterator[None]:
    """Keep dattri's warnings and bars from the screen."""
    with warnings.catch_warnings(), redirect_stderr(io.StringIO()):
        warnings.simplefilter("ignore")
        logging.disable(logging.WARNING)
        try:
            yield
        finally:
            logging.disable(logging.NOTSET)


@contextmanager
def at_most(seconds: float) -> Iterator[None]:
    """Stop what runs in here after so many seconds of computing, whatever else the machine does.

    Raises:
        TimeoutError: it took longer.
    """

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {seconds:.0f} s of computing")

    before = signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        signal.signal(signal.SIGPROF, before)


def gradients(problem: Problem, states: Sequence[State], eta: Sequence[float], cosine: bool = False) -> np.ndarray:
    """TracIn over checkpoints with their step sizes; with one model and eta 1 Grad-Dot, and Grad-Cos with `cosine`."""
    from dattri.algorithm.tracin import TracInAttributor

    attributor = TracInAttributor(problem.task(states), torch.tensor(list(eta)), normalized_grad=cosine, device="cpu")
    return _array(attributor.attribute(problem.loader(BATCH), problem.tests()))


def conjugate_gradients(problem: Problem, damping: float) -> np.ndarray:
    """Influence function by conjugate gradients: ten iterations, the rows in one batch (several would add up inverses)."""
    from dattri.algorithm.influence_function import IFAttributorCG

    attributor = IFAttributorCG(problem.task(problem.full[:1]), max_iter=10, regularization=damping, device="cpu")
    attributor.cache(problem.loader())
    return _array(attributor.attribute(problem.loader(), problem.tests(TOGETHER)))


def ekfac(problem: Problem, damping: float) -> np.ndarray:
    """Influence function by EK-FAC, of Linear layers only."""
    from dattri.algorithm.influence_function import IFAttributorEKFAC

    attributor = IFAttributorEKFAC(problem.task(problem.full[:1]), damping=damping, device="cpu")
    attributor.cache(problem.loader(500))
    return _array(attributor.attribute(problem.loader(BATCH), problem.tests()))


def trak(problem: Problem, states: Sequence[State]) -> np.ndarray:
    """TRAK over these models, gradients projected to `DIMENSION`, no damping."""
    from dattri.algorithm.trak import TRAKAttributor

    projector = {"proj_dim": DIMENSION, "proj_max_batch_size": 32, "proj_seed": 0, "device": "cpu"}
    task = problem.task(states, margin=True)
    attributor = TRAKAttributor(task, problem.probability, projector_kwargs=projector, device="cpu", regularization=0.0)
    attributor.cache(problem.loader(500))
    return _array(attributor.attribute(problem.tests()))


def _array(scores: torch.Tensor) -> np.ndarray:
    return scores.detach().numpy().astype(np.float64)


def methods(problem: Problem) -> dict[str, dict[float, Method]]:
    """Return what can be asked of a problem: by name, and by damping (0: the method has none)."""
    found: dict[str, dict[float, Method]] = {
        "dattri Grad-Dot": {0: lambda: gradients(problem, problem.full[:1], [1.0])},
        "dattri Grad-Cos": {0: lambda: gradients(problem, problem.full[:1], [1.0], cosine=True)},
        "dattri TRAK-1": {0: lambda: trak(problem, (problem.half or problem.full)[:1])},
        "dattri EK-FAC": {damping: partial(ekfac, problem, damping) for damping in DAMPINGS},
        "dattri IF-CG": {damping: partial(conjugate_gradients, problem, damping) for damping in DAMPINGS},
    }
    if problem.path:
        found["dattri TracIn"] = {0: lambda: gradients(problem, problem.path, problem.eta)}
    if len(problem.half) >= 10:
        found["dattri TRAK-10"] = {0: lambda: trak(problem, problem.half[:10])}
    return found
