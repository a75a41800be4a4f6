"""Operations that are linear in their parameters, and what they say of rows' gradients.

For out = op(a; W) linear in W, with delta = dl/d(out): <dl/dW, V> = <delta, op(a; V)>, so the operation itself, with a direction in place
of its parameters, gives the directional derivative; and dl/dW is a sum over positions of outer products of delta and a, which need not
be formed. Ghost products: Goodfellow, arXiv:1510.01799; convolutions by unfolding: Rochette, Manoel and Tramel, arXiv:1912.06015.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from influence.grads.parts import Dense, Factors, Layout, Lookup, Part

Given = Mapping[str, Any]
Shapes = Mapping[str, torch.Size]


@dataclass(frozen=True)
class Op:
    """An operation: what computes it, the names of its arguments, and which of them may be parameters.

    `small`: the gradients of whole rows cost next to nothing, so that a tangent is never needed.
    """

    call: Callable[..., Tensor]
    names: tuple[str, ...]
    roles: tuple[str, ...] = ("weight", "bias")
    small = False

    def tangent(self, given: Given, v: Mapping[str, Tensor]) -> Tensor:
        """Return the operation with directions in place of its parameters; a parameter without a direction does not move."""
        weight = v["weight"] if "weight" in v else torch.zeros_like(given["weight"])
        return self.call(**{**given, "weight": weight, "bias": v.get("bias")})

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Return the rows' gradients by each parameter that is `owned` (role and shape)."""
        raise NotImplementedError


class Linear(Op):
    """y = W a + b at every position."""

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Outer products of deltas and inputs; deltas, summed over positions, by the bias."""
        a, d = rows(given["input"]), rows(delta)
        found: dict[str, Part] = {}
        if "weight" in owned:
            found["weight"] = Factors(a.reshape(len(a), -1, 1, a.shape[-1]), d.reshape(len(d), -1, 1, d.shape[-1]))
        if "bias" in owned:
            found["bias"] = Dense(_between(d, 1))
        return found


@dataclass(frozen=True)
class Conv(Op):
    """A convolution over any number of dimensions, or its transpose: there input and output change places."""

    transposed: bool = False

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Outer products of deltas and patches; deltas, summed over positions, by the bias."""
        found: dict[str, Part] = {}
        if "weight" in owned:
            wide, narrow = (delta, given["input"]) if self.transposed else (given["input"], delta)
            groups = given.get("groups", 1)
            a = patches(wide, owned["weight"][2:], narrow.shape[2:], given, groups)
            d = narrow.reshape(len(narrow), groups, narrow.shape[1] // groups, -1).permute(0, 3, 1, 2)
            found["weight"] = Factors(_joined(rows(a)), _joined(rows(d)))
        if "bias" in owned:
            found["bias"] = Dense(_between(rows(delta.flatten(2).sum(2)), 1))
        return found


class Embedding(Op):
    """A table of vectors; the entry at `padding_idx` does not learn."""

    def tangent(self, given: Given, v: Mapping[str, Tensor]) -> Tensor:
        """The entries of a direction; nothing at `padding_idx`."""
        return self._learning(F.embedding(given["input"], v["weight"]), given, len(v["weight"]))

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Deltas at the entries that were looked up."""
        size = owned["weight"][0]
        a, d = rows(given["input"]), rows(self._learning(delta, given, size))
        return {"weight": Lookup(a.reshape(len(a), -1), d.reshape(len(d), -1, d.shape[-1]), size)}

    def _learning(self, t: Tensor, given: Given, size: int) -> Tensor:
        skip = given.get("padding_idx")
        return t if skip is None else t.masked_fill((given["input"] == skip % size)[..., None], 0)


@dataclass(frozen=True)
class Norm(Op):
    """Normalisation, then a scale and a shift: of the last dimensions, or of each channel (the second dimension)."""

    channels: bool = False
    small = True

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Deltas times the normalised input, and deltas, summed over positions."""
        products = {"bias": delta} if "bias" in owned else {}
        if "weight" in owned:
            products["weight"] = self.call(**{name: value for name, value in given.items() if name not in self.roles}).mul_(delta)
        found: dict[str, Part] = {}
        for role, t in products.items():
            kept = t.flatten(2).sum(2) if self.channels and t.dim() > 2 else t
            found[role] = Dense(_between(rows(kept), len(owned[role])).flatten(1))
        return found


@dataclass(frozen=True)
class Spread(Op):
    """A parameter spread over rows and positions by broadcasting: added to them, multiplied with them, or expanded."""

    times: bool = False
    small = True

    def parts(self, given: Given, delta: Tensor, rows: Layout, owned: Shapes) -> dict[str, Part]:
        """Deltas (times what the parameter is multiplied with), summed over all that it is spread over."""
        found: dict[str, Part] = {}
        for role, shape in owned.items():
            d = rows(delta * given["other" if role == "input" else "input"] if self.times else delta)
            own = [1] * (delta.dim() - len(shape)) + list(shape)
            if own.pop(1 if rows.kind == "second" else 0) != 1:
                raise NotImplementedError("The parameter has an entry for each row.")
            own = [1, *own] if d.dim() > delta.dim() else own  # rows and positions were joined: the positions
            over = tuple(k for k, size in enumerate(own, 1) if size == 1)
            found[role] = Dense((d.sum(over) if over else d).flatten(1))
        return found


def _between(t: Tensor, kept: int) -> Tensor:
    """Sum over all dimensions between the rows and the last `kept`."""
    return t.sum(tuple(range(1, t.dim() - kept))) if t.dim() > kept + 1 else t


def _joined(t: Tensor) -> Tensor:
    """(B, ..., T, G, width) -> (B, T, G, width): several images of one row are more positions."""
    return t if t.dim() == 4 else t.flatten(1, -3)


def patches(a: Tensor, kernel: torch.Size, out: torch.Size, given: Given, groups: int) -> Tensor:
    """Return what a convolution sees at each of its positions, (B, T, G, channels of a group * kernel size)."""
    n = len(kernel)
    stride, dilation = (_each(given.get(name, 1), n) for name in ("stride", "dilation"))
    padding = given.get("padding", 0)
    if padding == "same":
        both = [d * (k - 1) for d, k in zip(dilation, kernel, strict=True)]
        sides = [side for b in reversed(both) for side in (b // 2, b - b // 2)]
    else:
        sides = [side for p in reversed(_each(0 if padding == "valid" else padding, n)) for side in (p, p)]
    padded = F.pad(a, sides) if any(sides) else a
    first, *steps = padded.stride()[1:]
    strides = [s * d for s, d in zip(steps, dilation, strict=True)] + [s * r for s, r in zip(steps, stride, strict=True)]
    seen = padded.as_strided((*padded.shape[:2], *kernel, *out), (padded.stride(0), first, *strides), padded.storage_offset())
    return seen.reshape(len(a), groups, -1, math.prod(out)).permute(0, 3, 1, 2)


def _each(value: Any, n: int) -> tuple[int, ...]:
    value = (value,) if isinstance(value, int) else tuple(value)
    return value * n if len(value) == 1 else value


_CONV = ("input", "weight", "bias", "stride", "padding", "dilation", "groups")
_TURNED = ("input", "weight", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_CONVS = (torch.conv1d, torch.conv2d, torch.conv3d)
_TURNED_CONVS = (torch.conv_transpose1d, torch.conv_transpose2d, torch.conv_transpose3d)

OPS: dict[Callable[..., Any], Op] = {
    F.linear: Linear(F.linear, ("input", "weight", "bias")),
    **{call: Conv(call, _CONV) for call in _CONVS},
    **{call: Conv(call, _TURNED, transposed=True) for call in _TURNED_CONVS},
    F.embedding: Embedding(
        F.embedding, ("input", "weight", "padding_idx", "max_norm", "norm_type", "scale_grad_by_freq", "sparse"), ("weight",)
    ),
    F.layer_norm: Norm(F.layer_norm, ("input", "normalized_shape", "weight", "bias", "eps")),
    F.rms_norm: Norm(F.rms_norm, ("input", "normalized_shape", "weight", "eps"), ("weight",)),
    F.group_norm: Norm(F.group_norm, ("input", "num_groups", "weight", "bias", "eps"), channels=True),
    F.batch_norm: Norm(
        F.batch_norm, ("input", "running_mean", "running_var", "weight", "bias", "training", "momentum", "eps"), channels=True
    ),
    F.instance_norm: Norm(
        F.instance_norm,
        ("input", "running_mean", "running_var", "weight", "bias", "use_input_stats", "momentum", "eps"),
        channels=True,
    ),
    **{call: Spread(call, ("input", "other"), ("input", "other")) for call in (torch.add, Tensor.add)},
    **{call: Spread(call, ("input", "other"), ("input", "other"), times=True) for call in (torch.mul, Tensor.mul)},
    Tensor.expand: Spread(Tensor.expand, ("input",), ("input",)),
}
"""The operations known, by the function that a model calls."""
