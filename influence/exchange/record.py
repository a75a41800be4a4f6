"""Read what a `Recorder` wrote, or a list of checkpoints, as a training that Lethe can follow. Nothing that a file says is executed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.arrays import refuse_links
from influence.data.images.npy import STORED, arrays
from influence.digest import digest
from influence.errors import BadInput
from influence.exchange.exported import Exported, is_exported, read_exported
from influence.exchange.matching import AUTO, Match, Probe, matched
from influence.exchange.pt2 import graph_in
from influence.exchange.weights import Weights, read_weights
from influence.loop import Bound
from influence.registry import build, described
from influence.training import checkpoint
from influence.types import Checkpoint, Course, Recipe, Trained

MOST_JSON = 50_000_000
COURSE = {"ids": "iuU", "places": "iu", "sizes": "iu", "lr": "f"}
"""Arrays of a course, and the kinds of number that each may be."""
WRITE = "Write it with influence.Recorder.save."
CHECKPOINTS = (".safetensors", ".pt", ".pth", ".ckpt")


@dataclass(frozen=True)
class Record:
    """A training from elsewhere. `checkpoints`: weights with the step they were taken at and the mean step size up to there.

    `recipe`: its settings, None if it cannot be followed; `no_recipe`: why. `start`, `course`: only with a recipe; without them the
    training is laid out by the recipe's seed. `removed`: ids whose places in it are empty. `exported`: what came with the model, if Lethe
    wrote it. `graph`: its operations (`influence/models/graph.py`), if a .pt2 file says them.
    """

    checkpoints: tuple[tuple[Weights, int, float], ...]
    recipe: Recipe | None = None
    no_recipe: str = "Only weights were brought. Record the training with influence.Recorder, or train here."
    start: Weights | None = None
    course: Mapping[str, np.ndarray] | None = None
    probe: Probe | None = None
    classes: tuple[str, ...] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)
    removed: tuple[Any, ...] = ()
    exported: Exported | None = None
    graph: str = ""

    def trained(
        self, inputs: tuple[int, ...], outputs: int, name: str = AUTO, given: Mapping[str, Any] | None = None
    ) -> tuple[Trained, Match]:
        """Return the model with its checkpoints, and its recipe if there is one, in the architecture that fits.

        Raises:
            BadInput: no architecture fits, or the parts are of different models.
        """
        if self.exported and name == AUTO and not given:
            kind = described(self.exported.model)
            name, given = kind["name"], kind["given"]
        elif self.graph and name == AUTO and not given:
            name, given = "graph", {"graph": self.graph}
        self._refuse_inputs(inputs)
        match = matched(self.checkpoints[-1][0].state, inputs, outputs, name, given, self.probe, self.hints)
        kept: tuple[Checkpoint, ...] = tuple(checkpoint(match.renamed(w.state), step, lr) for w, step, lr in self.checkpoints)
        return Trained(match.model, kept, self._followed(match), removed=self.removed), match

    def _refuse_inputs(self, inputs: tuple[int, ...]) -> None:
        if self.exported or self.probe is None or isinstance(self.probe.x, Mapping) or self.probe.x.dtype.kind != "f":
            return  # texts may be of any length, and an exported model brings its own preparation
        seen = tuple(self.probe.x.shape[1:])
        if seen != tuple(inputs):
            raise BadInput(
                f"The recorded model saw inputs of shape {seen}, and these data make {tuple(inputs)}. Bring the data as it saw them: the "
                "folder that influence.save_data wrote there."
            )

    def _followed(self, match: Match) -> Recipe | None:
        if self.recipe is None or self.start is None or self.course is None:
            return self.recipe
        bound = Bound(match.model, dtype=self.recipe.dtype).load(match.renamed(self.start.state))
        went = {"start": bound.vector().cpu().numpy(), **self.course}
        return replace(self.recipe, course=Course(digest(went), digest(self.recipe), lambda: went))


def read_record(path: str | Path, rates: Sequence[float] = ()) -> Record:
    """Return the training in a folder that a `Recorder` wrote, in one file of weights, or in a folder of checkpoints in order of name.

    A .pt2 file beside others says what the model is; alone it is also its weights.
    `rates`: step sizes of checkpoints, one for all or one each; else what the files say, else 1, with which TracIn still ranks.

    Raises:
        BadInput: something is missing, damaged, of another kind, or a link that leads out of the folder.
    """
    path = Path(path)
    if path.is_dir():
        refuse_links(path)
    if is_exported(path):
        return _exported(path, rates)
    if path.is_dir() and (path / "record.json").is_file():
        return _recorded(path)
    graph = graph_in(path)
    files = [path] if not path.is_dir() else sorted(p for p in path.iterdir() if p.suffix in CHECKPOINTS)
    if not files and graph is None:
        raise BadInput(f"{path.name!r} holds no weights: no record.json, and no .safetensors, .pt, .pth, .ckpt or .pt2 file.")
    found = [read_weights(file) for file in files] if graph is None else graph.checkpoints([f for f in files if f != path])
    lr = [w.lr if w.lr is not None else 1.0 for w in found]
    if rates:
        if len(rates) not in (1, len(found)):
            raise BadInput(f"{len(rates)} step sizes were given for {len(found)} checkpoints. Give one for all, or one each.")
        lr = list(rates) if len(rates) > 1 else [rates[0]] * len(found)
    steps = tuple((w, k + 1, eta) for k, (w, eta) in enumerate(zip(found, lr, strict=True)))
    return Record(steps, graph=graph.text if graph else "")


def _exported(folder: Path, rates: Sequence[float]) -> Record:
    """Return a model that Lethe wrote, with its training if that was written too."""
    exported = read_exported(folder)
    weights, probe = exported.weights(), _probe(folder)
    if (folder / "record.json").is_file():
        return replace(_recorded(folder), classes=exported.classes, exported=exported)
    said = "It came without its training. If Lethe trained it, export it with --format record; else record it with influence.Recorder."
    return Record(((weights, 1, rates[0] if rates else 1.0),), None, said, probe=probe, classes=exported.classes, exported=exported)


def _recorded(folder: Path) -> Record:
    told = _json(folder / "record.json")
    try:
        listed = [(_inside(folder, str(kept["file"])), int(kept["step"]), float(kept["lr"])) for kept in told["checkpoints"]]
        classes = tuple(map(str, told.get("classes") or ()))
        recipe = build(Recipe, told["recipe"]) if told.get("recipe") else None
        reason, hints = str(told.get("no_recipe") or ""), dict(told.get("hints") or {})
        removed = tuple(id if isinstance(id, int) else str(id) for id in told.get("removed") or ())
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise BadInput(f"record.json lacks or garbles {error}. Write it with influence.Recorder.save.") from None
    if not listed:
        raise BadInput("record.json names no checkpoint. Write it with influence.Recorder.save.")
    names, graph = [str(name) for name in told.get("names") or ()], graph_in(folder)
    states = tuple((_ordered(read_weights(file), names), step, lr) for file, step, lr in listed)
    shared: dict[str, Any] = {"probe": _probe(folder), "classes": classes, "hints": hints, "removed": removed}
    if graph is not None:
        made = graph.checkpoints([file for file, _, _ in listed])
        states = tuple((w, step, lr) for w, (_, step, lr) in zip(made, listed, strict=True))
        shared["graph"] = graph.text
    if recipe is None or told.get("by_seed") is True:
        return Record(states, recipe, reason, **shared)
    course, start = _course(folder / "course.npz", recipe), _ordered(read_weights(_inside(folder, "start.safetensors")), names)
    return Record(states, recipe, "", Weights(graph.whole(start.state)) if graph else start, course, **shared)


def _ordered(weights: Weights, names: Sequence[str]) -> Weights:
    """Return weights in the order that their module has them, which safetensors files forget."""
    if set(names) != set(weights.state):
        return weights
    return Weights({name: weights.state[name] for name in names}, weights.lr)


def _json(path: Path) -> dict[str, Any]:
    try:
        if path.stat().st_size > MOST_JSON:
            raise ValueError("too large")
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        raise BadInput(f"{path.name!r} is too large or no JSON. Write it with influence.Recorder.save.") from None
    if not isinstance(found, dict) or found.get("format") != 1:
        raise BadInput(f"{path.name!r} is no record of format 1. Write it with influence.Recorder.save.")
    return found


def _inside(folder: Path, name: str) -> Path:
    """Return a file of the folder; what a record names lies beside it, and links do not lead out.

    Raises:
        BadInput: there is no such file.
    """
    path = folder / name
    if Path(name).name != name or not path.is_file() or not path.resolve().is_relative_to(folder.resolve()):
        raise BadInput(f"The record names {name!r}, which is no file beside it. Bring the whole folder that influence.Recorder.save wrote.")
    return path


def _probe(folder: Path) -> Probe | None:
    if not (folder / "probe.npz").is_file():
        return None
    found = arrays(_inside(folder, "probe.npz"), STORED, WRITE)
    y, x = found.pop("y", None), list(found)
    alone = x == ["x"]
    if not (alone or (x and all(name.startswith("x.") for name in x))) or not y or {len(part) for part in found.values()} != {len(y)}:
        raise BadInput("probe.npz must hold x and y of one length. Write it with influence.Recorder.save(probe=...).")
    return Probe(found["x"].whole() if alone else {name.removeprefix("x."): found[name].whole() for name in x}, y.whole())


def _course(path: Path, recipe: Recipe) -> dict[str, np.ndarray]:
    listed = arrays(_inside(path.parent, path.name), STORED, WRITE)
    named = {**COURSE, **({"widths": "iu"} if "widths" in listed else {})}
    for name, kinds in named.items():
        if name not in listed or len(listed[name].shape) != 1 or listed[name].dtype.kind not in kinds:
            raise BadInput(f"{path.name!r} lacks {name!r}, or it is no list of the right kind. Write it with influence.Recorder.save.")
    found = {name: listed[name].whole() for name in named}
    places, sizes, lr = found["places"].astype(np.int64), found["sizes"].astype(np.int64), found["lr"].astype(np.float64)
    fits = len(sizes) == len(lr) > 0 and sizes.min() > 0 and sizes.sum() == len(places) and np.isfinite(lr).all()
    if not fits or places.min() < 0 or places.max() >= len(found["ids"]) or len(np.unique(found["ids"])) != len(found["ids"]):
        raise BadInput(f"{path.name!r} does not fit together: steps, rows and step sizes differ in number. Record the training again.")
    course = {"ids": found["ids"], "places": places, "sizes": sizes, "lr": lr}
    if "widths" not in found:
        return course
    widths = found["widths"].astype(np.int64)
    if len(widths) != len(lr) or widths.min() < 1:
        raise BadInput(f"{path.name!r} does not fit together: `widths` must say how many tokens each step saw. Record the training again.")
    return {**course, "widths": widths}
