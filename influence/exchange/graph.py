"""A model as a graph of PyTorch's own operations (`torch.export`), which runs without Lethe and without any source code.

PyTorch: torch.export, https://docs.pytorch.org/docs/2.13/export.html. The file is written here and never read from elsewhere.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from influence.errors import BadInput
from influence.exchange.exported import as_input, drawn
from influence.types import Architecture, State

SAME = 1e-6
"""Largest difference of its answers from the model's, in units of their size (at least 1), that the order of sums explains."""
SIZES = (1, 7)
"""Numbers of rows with which it is tried, beside all at once."""


def write_graph(model: Architecture, state: State, x: np.ndarray, path: Path) -> float:
    """Write a model's graph for any number of rows, read it again, and see that it answers rows x (n, *shape) as the model does.

    Returns the largest difference found.

    Raises:
        BadInput: the model has no such graph, or it answers otherwise.
    """
    module = model()
    module.to(next(value.dtype for value in state.values() if value.is_floating_point())).load_state_dict(state)
    module.eval()
    rows, shown = (as_input(part, next(module.parameters()).dtype) for part in (x, drawn(x, 2)))  # what is shown stays in the file
    try:
        made = torch.export.export(module, (shown,), dynamic_shapes=({0: torch.export.Dim("rows")},))
    except Exception as error:  # the tracer raises whatever the first operation that it cannot follow brings about
        said = " ".join(str(error).split())[:160]
        raise BadInput(f"PyTorch can't write this model as a graph ({said}). Export it as safetensors.") from None
    for node in made.graph.nodes:
        node.meta.pop("stack_trace", None)  # names folders of this machine
    torch.export.save(made, path)
    again = torch.export.load(path).module()
    off = max(_off(module, again, rows[:n]) for n in (*SIZES, len(rows)))
    if not off <= SAME:
        raise BadInput(f"The graph that PyTorch wrote answers otherwise than the model, by {off:.2g}. Export it as safetensors.")
    return off


def _off(module: torch.nn.Module, again: torch.nn.Module, rows: torch.Tensor) -> float:
    with torch.no_grad():
        real, said = module(rows), again(rows)
    return float((real - said).abs().max() / real.abs().max().clamp(min=1))
