"""The six values and the data set as objects: a JSON object each, whose `objects` name the arrays, tables and weights that belong to it."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
import pyarrow as pa
from safetensors import SafetensorError

from influence.data.dataset import ROLES, Dataset
from influence.digest import digest as identity
from influence.errors import BadInput
from influence.registry import build, described, models
from influence.store.formats import array_parts, canonical, read_array, read_state, read_table, state_bytes, table_bytes
from influence.store.objects import Objects, Suffix
from influence.types import Checkpoint, Course, Examples, Recipe, Scores, Selection, Trained, Trajectory, tree_map

if TYPE_CHECKING:
    from influence.types import State


class Values:
    """Values in and out of a folder of objects; what `put_*` returns, the method of the same name takes."""

    def __init__(self, objects: Objects) -> None:
        self.objects = objects

    def _read(self, digest: str, suffix: Suffix, reader: Callable[[Path], Any]) -> Any:
        path = self.objects.path(digest, suffix)
        try:
            return reader(path)
        except (OSError, ValueError, KeyError, pa.ArrowException, SafetensorError) as error:
            raise BadInput(f"{path} is damaged: {error}. Bring it back from a backup, or do what made it again.") from error

    def put_json(self, value: Any) -> str:
        """Keep a JSON value; numbers that are not finite become null."""
        return self.objects.put("json", [canonical(value).encode()])

    def json(self, digest: str) -> Any:
        """Return a kept JSON value."""
        return self._read(digest, "json", lambda path: json.loads(path.read_bytes()))

    def put_array(self, array: np.ndarray) -> str:
        """Keep an array, not copied on the way if it lies in C order.

        Raises:
            BadInput: it holds Python objects.
        """
        return self.objects.put("npy", array_parts(array))

    def array(self, digest: str) -> np.ndarray:
        """Return a kept array as a read-only memory map."""
        return self._read(digest, "npy", read_array)

    def put_table(self, frame: pd.DataFrame) -> str:
        """Keep a table as Parquet; its index is not kept.

        Raises:
            BadInput: a column mixes types, or column names repeat.
        """
        return self.objects.put("parquet", [table_bytes(frame)])

    def table(self, digest: str) -> pd.DataFrame:
        """Return a kept table with the types that it had."""
        return self._read(digest, "parquet", read_table)

    def put_state(self, state: State) -> str:
        """Keep weights as safetensors."""
        return self.objects.put("safetensors", [state_bytes(state)])

    def state(self, digest: str) -> State:
        """Return kept weights."""
        return self._read(digest, "safetensors", read_state)

    def put_scores(self, scores: Scores) -> str:
        """Keep scores."""
        kept = {"values": self.put_array(scores.values), "ids": self.put_array(scores.ids)}
        facts = {"labels": scores.labels, "method": scores.method, "calibrated": scores.calibrated}
        return self.put_json({**facts, "objects": kept})

    def scores(self, digest: str) -> Scores:
        """Return kept scores; values and ids are memory maps."""
        kept = self.json(digest)
        arrays = {name: self.array(kept["objects"][name]) for name in ("values", "ids")}
        return Scores(**arrays, labels=tuple(kept["labels"]), method=kept["method"], calibrated=kept["calibrated"])

    def put_selection(self, selection: Selection) -> str:
        """Keep a selection."""
        labels = {"labels": selection.labels} if selection.labels else {}
        return self.put_json({"ids": selection.ids, "action": selection.action, "reason": selection.reason, **labels})

    def selection(self, digest: str) -> Selection:
        """Return a kept selection."""
        kept = self.json(digest)
        return Selection(tuple(kept["ids"]), kept["action"], kept["reason"], tuple(kept.get("labels", ())))

    def put_dataset(self, dataset: Dataset) -> str:
        """Keep a data set: the examples of each role, and what is known of their columns."""
        roles = {role: dataset.split(role) for role in ROLES}
        facts = {f.name: getattr(dataset, f.name) for f in dataclasses.fields(dataset) if f.name not in ROLES}
        classes = {role: examples.classes for role, examples in roles.items()}
        facts |= {"positive": dataset.train.positive} if dataset.train.positive else {}
        return self.put_json({**facts, "classes": classes, "objects": {role: self._put_examples(e) for role, e in roles.items()}})

    def dataset(self, digest: str) -> Dataset:
        """Return a kept data set; its arrays are memory maps."""
        kept = self.json(digest)
        classes, parts, positive = kept.pop("classes"), kept.pop("objects"), kept.pop("positive", "")
        fields: dict[str, Any] = {role: self._examples(parts[role], classes[role], positive) for role in ROLES}
        fields |= {name: tuple(kept.pop(name)) for name in ("protected", "audit", "planted")}
        return Dataset(**fields, **kept)

    def _put_examples(self, examples: Examples) -> dict[str, Any]:
        arrays = {"y": self.put_array(examples.y), "ids": self.put_array(examples.ids)}
        return {"x": tree_map(self.put_array, examples.x), **arrays, "columns": self.put_table(examples.columns)}

    def _examples(self, parts: Mapping[str, Any], classes: list[str], positive: str) -> Examples:
        x = {name: self.array(part) for name, part in parts["x"].items()} if isinstance(parts["x"], dict) else self.array(parts["x"])
        return Examples(x, self.array(parts["y"]), self.array(parts["ids"]), self.table(parts["columns"]), tuple(classes), positive)

    def put_trained(self, trained: Trained) -> dict[str, Any]:
        """Keep weights and trajectory, one at a time, and return what a run's body says of the model.

        The digests of checkpoints are those of the objects that hold them.
        """
        shape = {"inputs": list(trained.model.inputs), "outputs": trained.model.outputs}
        body = {
            "model": {**described(trained.model), **shape},
            "recipe": trained.recipe and {**trained.recipe.given, "course": self._put_course(trained.recipe.course)},
            "claim": trained.claim,
            "removed": list(trained.removed),
            "checkpoints": [{"digest": self.put_state(c.load()), "step": c.step, "lr": c.lr} for c in trained.checkpoints],
            "trajectory": self._put_trajectory(trained.trajectory),
        }
        return dict(json.loads(canonical(body)))

    def _put_course(self, course: Course | None) -> dict[str, Any] | None:
        return {"of": course.of, "objects": {name: self.put_array(a) for name, a in course.load().items()}} if course else None

    def _recipe(self, body: Mapping[str, Any]) -> Recipe:
        given = dict(body)
        kept = given.pop("course", None)
        recipe: Recipe = build(Recipe, given)
        if kept is None:
            return recipe
        parts = kept["objects"]
        course = Course(identity(parts), kept["of"], lambda: {name: self.array(part) for name, part in parts.items()})
        return dataclasses.replace(recipe, course=course)

    def _put_trajectory(self, trajectory: Trajectory | None) -> dict[str, str] | None:
        return {name: self.put_array(array) for name, array in trajectory.load().items()} if trajectory else None

    def rebuilt(self, body: Mapping[str, Any]) -> Trained:
        """Return the model that a run's body describes; weights load when asked.

        Raises:
            BadInput: the kind of model is not known here, or its settings are not.
        """
        made = models.make(body["model"]["name"], body["model"]["given"])
        return Trained(
            model=dataclasses.replace(made, inputs=tuple(body["model"]["inputs"]), outputs=body["model"]["outputs"]),
            checkpoints=tuple(self._checkpoint(**kept) for kept in body["checkpoints"]),
            recipe=self._recipe(body["recipe"]) if body["recipe"] else None,
            claim=body.get("weights_claim", body["claim"]),
            trajectory=self._trajectory(body["trajectory"]),
            removed=tuple(body["removed"]),
        )

    def _checkpoint(self, digest: str, step: int, lr: float) -> Checkpoint:
        return Checkpoint(digest, step, lr, lambda: self.state(digest))

    def _trajectory(self, kept: Mapping[str, str] | None) -> Trajectory | None:
        return Trajectory(identity(kept), lambda: {name: self.array(part) for name, part in kept.items()}) if kept else None
