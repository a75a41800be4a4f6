"""Find the architecture that weights from elsewhere fit, and give them the names that it has.

Names differ between programs, shapes do not: weights fit where there are as many tensors of each kind (weight, bias, ...) and shape as in
the architecture; those alike are taken in their order. What leaves no trace in shapes (an activation, attention heads), and whether the
order is right, is told by what the model answers to a probe.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import Any

import numpy as np
import torch

from influence.errors import BadInput
from influence.loop import Bound
from influence.registry import models, settings
from influence.types import Architecture, State, Tree, tree_map

AUTO = "auto"
SAME = 1e-5
"""Largest difference between a model's answers and a probe's, in units of the answers' size, that rounding explains."""
TRACELESS = ("activation", "heads", "pooling")
"""Settings that leave no trace in the shapes of weights."""
TRIED = {"heads": (1, 2, 4, 8, 16)}


@dataclass(frozen=True)
class Probe:
    """A few inputs (n, *shape), perhaps several by name, and what the model answered to them where it was trained, (n, C)."""

    x: Tree
    y: np.ndarray


@dataclass(frozen=True)
class Match:
    """An architecture, how weights are named in it, and how far its answers are from a probe's (None: there was none).

    `names`: by the name that it has here, the name that it had there. `guessed`: settings that nothing could tell. `others`: the matches
    with other values of these.
    """

    model: Architecture
    names: Mapping[str, str]
    off: float | None
    guessed: tuple[str, ...] = ()
    others: tuple[Match, ...] = ()

    def settings(self, between: str = ", ") -> str:
        """Return what was guessed as it would be given: "activation=gelu"."""
        return between.join(f"{name}={getattr(self.model, name)}" for name in self.guessed)

    def renamed(self, state: State) -> State:
        """Return another state of the same training under the names that it has here.

        Raises:
            BadInput: it is a state of another model.
        """
        missing = [there for there in self.names.values() if there not in state]
        if missing or len(state) != len(self.names):
            said = f"it lacks {missing[0]!r}" if missing else f"it has {len(state)} tensors, the model {len(self.names)}"
            raise BadInput(f"A checkpoint is of another model: {said}. Bring checkpoints of one training.")
        return {here: state[there] for here, there in self.names.items()}


def matched(
    state: State,
    inputs: tuple[int, ...],
    outputs: int,
    name: str = AUTO,
    given: Mapping[str, Any] | None = None,
    probe: Probe | None = None,
    hints: Mapping[str, Any] | None = None,
) -> Match:
    """Return the architecture that fits weights: `name`, or the first that does.

    `given`: settings that a person states. `hints`: settings that were read off the module; those that an architecture has are taken.

    Raises:
        BadInput: none fits; says where the first tensor differs. Or none answers as the probe did.
    """
    names = [name] if name != AUTO else [n for n, cls in models.classes.items() if hasattr(cls, "sized")]
    found, reasons = [], []
    for kind in names:
        try:
            found.append(_fitted(state, inputs, outputs, kind, _known(kind, hints or {}) | dict(given or {})))
        except BadInput as error:
            reasons.append(f"{kind}: {error}")
    if not found:
        said = " ".join(reasons) if name != AUTO else f"Of {', '.join(names)} none does. The file holds {_listed(state)}."
        raise BadInput(
            f"These weights fit no model of inputs {inputs} and {outputs} outputs. {said} See that these are the rows that it "
            "was trained on; if they are, it is an architecture of your own: bring it as a graph (torch.export, model.pt2 in its folder)."
        )
    tried = [variant for match in found for variant in _variants(match, {**(hints or {}), **(given or {})})]
    if probe is None:
        return replace(tried[0], others=tuple(m for m in tried[1:] if type(m.model) is type(tried[0].model)))
    told = [replace(match, off=_off(match, state, probe), guessed=()) for match in tried]
    best = min(told, key=lambda match: match.off if match.off is not None and np.isfinite(match.off) else np.inf)
    if best.off is None or not best.off < SAME:
        raise BadInput(
            f"The weights fit, but the model answers otherwise than where it was trained, by {best.off:.2g} of its answers' size "
            f"({len(told)} settings were tried): it has other layers between its weights, or other inputs. Name its model and settings."
        )
    return best


def _known(name: str, hints: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hints that are settings of an architecture."""
    own = {s.name for s in settings(models.classes[name])} if name in models.classes else set()
    return {key: value for key, value in hints.items() if key in own}


def _fitted(state: State, inputs: tuple[int, ...], outputs: int, name: str, given: dict[str, Any]) -> Match:
    cls = models.classes.get(name) or models.make(name)  # the latter says which there are
    shapes = {n: tuple(value.shape) for n, value in state.items()}
    told = {**(cls.sized(shapes) if hasattr(cls, "sized") else {}), **given}
    made: Architecture = replace(models.make(name, told), inputs=inputs, outputs=outputs)
    with torch.device("meta"):  # shapes alone
        wanted = {n: tuple(value.shape) for n, value in made().state_dict().items()}
    if shapes == wanted:
        return Match(made, {n: n for n in wanted}, None)
    waiting: dict[Any, list[str]] = {}
    for there, shape in shapes.items():
        waiting.setdefault((_kind(there), shape), []).append(there)
    names = {}
    for here, shape in wanted.items():
        alike = waiting.get((_kind(here), shape))
        if not alike:
            raise BadInput(f"{here!r} needs a {_kind(here)} of shape {shape}, and the file has none left; it holds {_listed(state)}.")
        names[here] = alike.pop(0)
    left = [there for alike in waiting.values() for there in alike]
    if left:
        raise BadInput(f"{left[0]!r} of shape {shapes[left[0]]} has no place in it.")
    return Match(made, names, None)


def _kind(name: str) -> str:
    return name.rpartition(".")[2]


def _listed(state: State) -> str:
    shown = [f"{name} {tuple(value.shape)}" for name, value in list(state.items())[:6]]
    return ", ".join(shown) + (f" and {len(state) - 6} more" if len(state) > 6 else "")


def _variants(match: Match, given: Mapping[str, Any]) -> Iterator[Match]:
    """Yield the match with every combination of what leaves no trace and is not given, the default first."""
    own = [s for s in settings(type(match.model)) if s.name in TRACELESS and s.name not in given]
    options: list[Sequence[Any]] = [list(dict.fromkeys((s.default, *(s.choices or TRIED.get(s.name, ()))))) for s in own]
    for values in product(*options):
        made = replace(match.model, **dict(zip([s.name for s in own], values, strict=True)))  # type: ignore[type-var]
        yield replace(match, model=made, guessed=tuple(s.name for s in own))


def _off(match: Match, state: State, probe: Probe) -> float:
    """Return the largest difference from the probe's answers over their largest size; infinite where the model does not run."""
    try:
        bound = Bound(match.model, dtype=_dtype(state)).load(match.renamed(state))
        bound.module.eval()
        x = tree_map(lambda leaf: torch.from_numpy(np.array(leaf, dtype=bound.dtype if leaf.dtype.kind == "f" else None)), probe.x)
        with torch.no_grad():
            said = bound.module(x).double()
        real = torch.from_numpy(np.array(probe.y)).double()
        return float((said - real).abs().max() / real.abs().max().clamp(min=1e-12)) if said.shape == real.shape else float("inf")
    except (BadInput, RuntimeError, IndexError):
        return float("inf")


def _dtype(state: State) -> str:
    kinds = {value.dtype for value in state.values() if value.is_floating_point()}
    return "float64" if kinds == {torch.float64} else "float32"
