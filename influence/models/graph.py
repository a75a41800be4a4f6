"""A model that PyTorch wrote as a graph of its own operations (`torch.export`): brought as it is, whatever its architecture.

PyTorch: torch.export, https://docs.pytorch.org/docs/2.13/export.html. Nothing of the graph is executed but operations that are listed in
`_operations.py`, with numbers and tensors for arguments.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

from torch import nn

from influence.errors import BadInput
from influence.models._program import Program, refuse_growth, tried
from influence.registry import models, option


@models
@dataclass(frozen=True)
class Graph:
    """A model as a graph of PyTorch's operations, of any architecture; it comes with `import-model model.pt2 DATA`.

    The graph is that of a model that answers: what its layers do only in training (dropout, statistics of batches) is no part of it.
    """

    brought: ClassVar[bool] = True
    inputs: tuple[int, ...] = ()
    outputs: int = 0
    graph: str = option("", "The operations, as JSON")

    def __call__(self) -> nn.Module:
        """Build it, (B, *inputs) -> (B, outputs).

        Raises:
            BadInput: there is no graph, it is not one that can be run here, or it does not take such inputs.
        """
        if not self.graph:
            raise BadInput("A graph comes with its weights. Bring the file that torch.export.save wrote: import-model model.pt2 DATA.")
        given = (self.graph, tuple(self.inputs), self.outputs)
        return Program(tried(*given), partial(refuse_growth, *given))
