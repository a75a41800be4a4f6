"""A classifier of Hugging Face in a folder: config.json, model.safetensors, tokenizer.json. Nothing in it is ever run.

Weights are read as safetensors only, tokenizers by the tokenizers library only, and config.json names a kind of model that the transformers
library ships itself (`influence/models/_transformers.py`). A folder that was recorded (`exchange/trainer.py`) has these files too.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch

from influence.data.schema import names_of
from influence.data.text.settings import MOST_TOKENS
from influence.data.text.subwords import read_tokenizer
from influence.errors import BadInput
from influence.exchange.matching import Probe
from influence.exchange.record import Record
from influence.exchange.weights import Weights, read_weights
from influence.models import _transformers
from influence.models.huggingface import by_name, levels_of

CONFIG = "config.json"
PROBED = 16
"""Rows on which the model here must answer as the library's own does."""
SAVE = "Save it with model.save_pretrained(folder), which writes model.safetensors, and bring that folder."
CONVERT = (
    "It is a Python pickle, which can run programs when opened and never is here. Where you trust it: "
    "AutoModelForSequenceClassification.from_pretrained(folder).save_pretrained(new_folder) writes model.safetensors."
)
COUNTED_FROM_PADDING = (
    "roberta",
    "xlm-roberta",
    "xlm-roberta-xl",
    "roberta-prelayernorm",
    "camembert",
    "mpnet",
    "data2vec-text",
    "longformer",
)
"""Kinds of model whose positions begin behind the padding token's."""


@dataclass(frozen=True)
class Card:
    """What a folder's config.json says. `what`: "text" or "images"; `classes`: names of the outputs in order, empty if only numbered."""

    folder: Path
    config: str
    what: str
    outputs: int
    classes: tuple[str, ...] = ()
    hints: Mapping[str, Any] = field(default_factory=dict)

    @cached_property
    def told(self) -> dict[str, Any]:
        """config.json, checked."""
        return _transformers.told(self.config)

    @property
    def length(self) -> int:
        """The most tokens of a text: what its record saw, else what the model and its tokenizer are made for."""
        most = [self.told.get("max_position_embeddings"), self.told.get("n_positions"), self._made_for]
        behind = int(self.told.get("pad_token_id") or 0) + 1 if self.told["model_type"] in COUNTED_FROM_PADDING else 0
        known = [n - behind * (k == 0) for k, n in enumerate(most) if isinstance(n, int) and n > 0]
        seen = self.hints.get("length")
        return max(1, min([MOST_TOKENS, *known, *([seen] if isinstance(seen, int) and seen > 0 else [])]))

    @property
    def _made_for(self) -> Any:
        return _json(self.folder / "tokenizer_config.json").get("model_max_length")

    @property
    def pixels(self) -> dict[str, Any]:
        """What the settings of reading images must be for it, and what its inputs are normalised by."""
        made, told = _json(self.folder / "preprocessor_config.json"), self.told
        side = told.get("image_size") or made.get("size")
        side = next(iter(side.values()), 0) if isinstance(side, dict) else side
        size = {"size": side} if isinstance(side, int) and side > 0 else {}
        return {**size, "channels": "grey" if told.get("num_channels", 3) == 1 else "colour"}

    @property
    def normalised(self) -> str:
        """Mean and sd by which its inputs were normalised, as the architecture's setting; "" for none."""
        made = _json(self.folder / "preprocessor_config.json")
        mean, sd = made.get("image_mean"), made.get("image_std")
        if not made.get("do_normalize", True) or not isinstance(mean, list) or not isinstance(sd, list):
            return ""
        return "/".join(",".join(map(str, side)) for side in (mean, sd))

    def reading(self, target: str, values: pd.Series, tokenizer: str = "") -> dict[str, Any]:
        """Return how it reads texts and what its outputs stand for, as a data set's encoding; `values`: the target's (N,).

        `tokenizer`: a folder with the tokenizer, if it is not this one.
        """
        if self.outputs == 1:
            goal: dict[str, Any] = {"name": target, "kind": "number", "mean": 0.0, "sd": 1.0}
        else:
            goal = {"name": target, "kind": "classes", "classes": list(self.classes_for(values))}
        return {"kind": "text", "tokenizer": read_tokenizer(tokenizer or self.folder).described(), "target": goal}

    def classes_for(self, values: pd.Series) -> tuple[str, ...]:
        """Return the target's classes, spelt as in the data, in the order of the model's outputs.

        Raises:
            BadInput: they are not the model's, or nothing says which output stands for which.
        """
        found = sorted(names_of(values.dropna()).unique())
        numbered = tuple(str(place) for place in range(self.outputs))
        if set(found) <= set(numbered):
            return numbered
        spelt = {name.casefold(): name for name in found}
        if self.classes and set(spelt) <= {name.casefold() for name in self.classes}:
            return tuple(spelt.get(name.casefold(), name) for name in self.classes)
        shown = ", ".join(found[:8]) + (", …" if len(found) > 8 else "")
        if self.classes:
            raise BadInput(
                f"The model's outputs are {', '.join(self.classes[:8])} (id2label in config.json), in this order; the target holds "
                f"{shown}. Rename the target's values as the model does, or number them from 0 in that order."
            )
        if len(found) == self.outputs:
            return tuple(found)
        raise BadInput(
            f"The model has {self.outputs} outputs, which config.json does not name; the target holds {len(found)} different values: "
            f"{shown}. Number the target's values from 0 in the order of the outputs."
        )


def _json(file: Path) -> dict[str, Any]:
    """Return the object in a small JSON file that may be missing; what it says is checked where it is used."""
    try:
        found = json.loads(file.read_text(encoding="utf-8")) if file.stat().st_size < _transformers.MOST_TEXT else None
    except (OSError, ValueError, RecursionError):
        found = None
    return found if isinstance(found, dict) else {}


def card_of(path: str | Path) -> Card | None:
    """Return what a folder's config.json says, None if there is none.

    Raises:
        BadInput: it cannot be used here.
    """
    folder = Path(path)
    if not folder.is_dir() or not (folder / CONFIG).is_file() or (folder / "model.json").is_file():
        return None
    try:
        with (folder / CONFIG).open(encoding="utf-8") as file:
            config = file.read(_transformers.MOST_TEXT + 1)
    except (OSError, ValueError):
        raise BadInput(f"{CONFIG} cannot be read as text. {SAVE}") from None
    if (folder / "adapter_config.json").exists():
        raise BadInput("The folder holds an adapter, which is half a model. Merge it (merge_and_unload), and save the whole model.")
    told, what = _transformers.told(config), _transformers.kind(config)
    if told.get("problem_type") == "multi_label_classification":
        raise BadInput("The model gives a row several labels (multi_label_classification), which is not supported. Bring one of one class.")
    names, config = _names(told), json.dumps(told, sort_keys=True, separators=(",", ":"))  # equal settings, equal text
    outputs = len(names) or int(told.get("num_labels") or 2)
    return Card(folder, config, what, outputs, () if _numbered(names) else names, _hints(folder))


def _names(told: Mapping[str, Any]) -> tuple[str, ...]:
    given = told.get("id2label") or {}
    try:
        by_place = {int(place): str(name) for place, name in given.items()}
        names = tuple(by_place[place] for place in range(len(by_place)))
    except (AttributeError, ValueError, KeyError):
        raise BadInput("id2label in config.json must name the outputs by number, from 0. Correct it.") from None
    if len(set(names)) < len(names):
        raise BadInput("id2label in config.json gives two outputs one name. Correct it.")
    return names


def _numbered(names: tuple[str, ...]) -> bool:
    return all(name == f"LABEL_{place}" for place, name in enumerate(names))


def _hints(folder: Path) -> dict[str, Any]:
    """Return what a record beside it says of the texts."""
    found = _json(folder / "record.json").get("hints")
    return found if isinstance(found, dict) else {}


def is_recorded(card: Card) -> bool:
    """Whether the folder holds the record of a training, not the model alone."""
    return (card.folder / "record.json").is_file()


@dataclass(frozen=True)
class Brought:
    """The library's own model of a folder, and which tensors of the file have no place in it."""

    card: Card
    model: torch.nn.Module
    spare: tuple[str, ...]

    def record(self, x: np.ndarray) -> Record:
        """Return it as weights alone, with its answers to the first of these inputs, (N, *shape).

        Raises:
            BadInput: it does not take them.
        """
        rows = torch.from_numpy(np.array(x[:PROBED]))
        try:
            with torch.no_grad():
                said = self.model(**by_name(rows, self.model.config, levels_of(self.card.normalised))).logits
        except Exception as error:  # whatever a model of somebody else's settings brings about
            told = " ".join(str(error).split())[:160]
            raise BadInput(f"This model does not take inputs of shape {x.shape[1:]}: {told}. Choose another length or size.") from None
        state = {name: value.detach().clone().contiguous() for name, value in self.model.state_dict().items()}
        why = "A folder of Hugging Face tells nothing of its training. Record the training with influence.exchange.trainer, or train here."
        classes = self.card.classes if self.card.what == "images" else ()
        return Record(((Weights(state), 1, 1.0),), no_recipe=why, probe=Probe(np.array(x[:PROBED]), said.numpy()), classes=classes)


def read_model(card: Card) -> Brought:
    """Return the model in a folder.

    Raises:
        BadInput: there are no weights that can be read safely, or they are of another model.
    """
    files = sorted(card.folder.glob("model*.safetensors"))
    if not files:
        pickled = next((file.name for file in sorted(card.folder.glob("*.bin")) + sorted(card.folder.glob("*.pt")) if file.is_file()), "")
        said = f"only {pickled!r}. {CONVERT}" if pickled else f"no model.safetensors. {SAVE}"
        raise BadInput(f"{card.folder.name!r} holds {said}")
    state: dict[str, torch.Tensor] = {}
    for file in files:
        state |= read_weights(file, whole=True).state
    model, spare = _transformers.loaded(card.config, card.outputs, state)
    return Brought(card, model, tuple(spare))
