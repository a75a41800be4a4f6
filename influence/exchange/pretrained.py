"""A classifier of the transformers library as a folder that the library opens by itself: `from_pretrained(folder)`.

What Lethe knows beside it (claim, figures, how the data were read) stands on the card alone; the folder can be brought again as any other
of Hugging Face (`exchange/huggingface.py`), and by that reader it is compared with the model when it is written.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from influence.errors import BadInput
from influence.exchange.exported import as_input
from influence.exchange.huggingface import CONFIG, card_of, read_model
from influence.models import _transformers
from influence.models.huggingface import HuggingFace, by_name, levels_of
from influence.types import Architecture, State

SAME = 1e-4
"""Largest difference of its answers from the model's, in units of their size (at least 1): attention without and with fused kernels."""
FASTEST = "PreTrainedTokenizerFast"
"""The library's class that takes a tokenizer.json as it is, whatever the kind of model."""
TOKENIZER, READING, PIXELS = "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json"


def write_pretrained(folder: Path, model: Architecture, state: State, encoding: Mapping[str, Any], x: np.ndarray) -> float:
    """Write config.json, model.safetensors, and what makes inputs: of texts the tokenizer, of images their size and levels.

    `encoding`: how raw rows become inputs, and what the outputs stand for. `x`: inputs (n, *shape) on which the folder is tried.

    Returns the largest difference from the model's answers found.

    Raises:
        BadInput: the model is not one of the library's, its texts are read as words, or what was written answers otherwise.
    """
    if not isinstance(model, HuggingFace):
        raise BadInput(
            "This model is not one of Hugging Face's, and their library could not open it. Export it as safetensors, pt2 or record."
        )
    if encoding.get("kind") == "text" and encoding["tokenizer"]["kind"] != "huggingface":
        raise BadInput(
            "This model's texts are read as words, which no tokenizer.json tells. Export it as safetensors, or train it with a tokenizer "
            "of Hugging Face (--data-set tokenizer=FOLDER)."
        )
    whole: Any
    whole, _ = _transformers.loaded(model.config, model.outputs, state)
    _name_outputs(whole.config, encoding.get("target") or {})
    with _transformers.quiet():
        whole.save_pretrained(folder)
    if encoding.get("kind") == "text":
        _write_tokenizer(folder, encoding, whole.config)
    if len(model.inputs) == 3:
        _write_pixels(folder, model)
    return _tried(folder, model, state, x)


def _name_outputs(config: Any, goal: Mapping[str, Any]) -> None:
    names = list(goal.get("classes", ()))
    if names:
        config.id2label, config.label2id = dict(enumerate(names)), {name: place for place, name in enumerate(names)}
    config.problem_type = "single_label_classification" if names else "regression"


def _write_tokenizer(folder: Path, encoding: Mapping[str, Any], config: Any) -> None:
    """Write the tokenizer as it was brought, and that texts are cut to as many tokens as the model here read, at the same side."""
    text = encoding["tokenizer"]["tokenizer"]
    (folder / TOKENIZER).write_text(text, encoding="utf-8")
    told: dict[str, Any] = {"tokenizer_class": FASTEST, "model_max_length": encoding["length"]}
    told |= {
        "truncation_side": encoding["tokenizer"]["side"],
        "padding_side": "right",
        "model_input_names": ["input_ids", "attention_mask"],
    }
    special = {part.get("id"): part.get("content") for part in json.loads(text).get("added_tokens") or []}
    pad = special.get(getattr(config, "pad_token_id", None))  # a word of texts made a token of its own would be read otherwise
    (folder / READING).write_text(json.dumps(told | ({"pad_token": pad} if pad else {}), indent=1), encoding="utf-8")


def _write_pixels(folder: Path, model: HuggingFace) -> None:
    mean, sd = levels_of(model.normalised) or ([0.0], [1.0])
    size = dict(zip(("height", "width"), model.inputs[1:], strict=True))
    told = {"image_processor_type": "ViTImageProcessor", "do_resize": True, "size": size, "do_rescale": True, "rescale_factor": 1 / 255}
    levels = {"do_normalize": bool(model.normalised), "image_mean": mean, "image_std": sd}
    (folder / PIXELS).write_text(json.dumps(told | levels, indent=1), encoding="utf-8")


def _tried(folder: Path, model: HuggingFace, state: State, x: np.ndarray) -> float:
    """Read the folder as anybody would, and compare.

    Raises:
        BadInput: it answers otherwise than the model.
    """
    card = card_of(folder)
    assert card, f"{CONFIG} was written"
    again, module = read_model(card).model, model()
    module.load_state_dict({name: value.float() if value.is_floating_point() else value for name, value in state.items()})
    module.eval()
    rows = as_input(x, torch.float32)
    with torch.no_grad():
        real, said = module(rows), again(**by_name(rows, again.config, levels_of(model.normalised))).logits
    off = float((real - said).abs().max() / real.abs().max().clamp(min=1))
    if not off <= SAME:
        raise BadInput(f"The folder that was written answers otherwise than the model, by {off:.2g}. Export it as safetensors.")
    return off
