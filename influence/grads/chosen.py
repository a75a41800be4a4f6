"""Which parameters take part: those of chosen layers that are not frozen."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import nn

from influence.errors import BadInput
from influence.loop import Bound


def owners(module: nn.Module) -> list[tuple[str, nn.Module]]:
    """Return the layers that own parameters, by name."""
    return [(name, layer) for name, layer in module.named_modules() if any(True for _ in layer.parameters(recurse=False))]


def chosen(bound: Bound, layers: str | Sequence[str] | None = None) -> list[int]:
    """Return the places in `bound.params` of the parameters that take part.

    `layers`: None or "all"; "last", the last layer that has parameters; or names of modules or parameters.

    Raises:
        BadInput: a name is none of the model's.
    """
    names = bound.names
    if layers is None or layers == "all":
        wanted = names
    elif layers == "last":
        own = {id(p) for p in owners(bound.module)[-1][1].parameters(recurse=False)}
        wanted = [n for n, p in zip(names, bound.params, strict=True) if id(p) in own]
    else:
        given = [layers] if isinstance(layers, str) else list(layers)
        unknown = [g for g in given if not any(n == g or n.startswith(f"{g}.") for n in names)]
        if unknown or not given:
            raise BadInput(
                f"The model has no layer {', '.join(unknown) or 'without a name'}; it has: {', '.join(n for n, _ in owners(bound.module))}."
            )
        wanted = [n for n in names if any(n == g or n.startswith(f"{g}.") for g in given)]
    kept = set(wanted)
    return [k for k, n in enumerate(names) if n in kept and bound.params[k].requires_grad]


def mask(bound: Bound, layers: str | Sequence[str] | None = None) -> torch.Tensor:
    """Return which entries of a flat vector take part, (P,) bool.

    Raises:
        BadInput: a name is none of the model's.
    """
    out = torch.zeros(len(bound.flat), dtype=torch.bool, device=bound.flat.device)
    views = bound.views(out)
    for k in chosen(bound, layers):
        views[k].fill_(True)
    return out
