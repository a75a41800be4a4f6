"""The door to the transformers library: models are built from what a config.json says, and from nothing else.

A config.json comes from somebody else. It may not name programs of its own (`auto_map`), kernels, quantisers or backbones that are fetched
from elsewhere; only kinds of model that the library itself ships are built, and only up to a size. The library is imported when it is
needed, not before: it takes seconds, and not everybody has it.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from importlib import import_module
from typing import Any

import torch
from torch import nn

from influence.errors import BadInput

INSTALL = "Install it with: pip install -r requirements-text.txt"
MOST_PARAMETERS = 1_000_000_000
MOST_TEXT = 2_000_000
LARGEST, DEEPEST = 2**24, 256
"""Largest whole number in a config.json (ids, widths), and largest number of layers."""
FOREIGN = ("auto_map", "quantization_config", "custom_pipelines", "adapter_config")
FETCHED = ("backbone", "use_timm_backbone", "use_pretrained_backbone", "backbone_kwargs", "timm_model_name")
OURS = ("attn_implementation", "experts_implementation", "return_dict", "output_attentions", "output_hidden_states", "torchscript")
"""What a model is asked for here, whatever its config.json says."""
KINDS = {"text": "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES", "images": "MODEL_FOR_IMAGE_CLASSIFICATION_MAPPING_NAMES"}
ELSEWHERE = ("timm_wrapper",)
"""Kinds of model whose programs are another library's."""


def library() -> Any:
    """Return the transformers library.

    Raises:
        BadInput: it is not installed.
    """
    try:
        return import_module("transformers")
    except ImportError as error:
        if error.name and error.name.split(".")[0] != "transformers":
            raise BadInput(f"The transformers library cannot be loaded: {error}. {INSTALL}") from None
        raise BadInput(f"Models of Hugging Face need the transformers library, which is not installed here. {INSTALL}") from None


def told(config: str) -> dict[str, Any]:
    """Return what a config.json says, without what is decided here.

    Raises:
        BadInput: it is no such JSON, asks for programs or files from elsewhere, or holds a number that no model has.
    """
    try:
        found = json.loads(config) if len(config) <= MOST_TEXT else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("model_type"), str):
        raise BadInput("config.json is no JSON object with a model_type. Bring the folder that save_pretrained wrote.")
    for name, value in _parts(found):
        if name in FOREIGN and value:
            raise BadInput(
                f"config.json asks for {name}: a program or a format from outside the transformers library, which is never run here. "
                "Save the model as one of the library's own kinds, in float32."
            )
        if name in FETCHED and value:
            raise BadInput(f"config.json asks for {name}, a part that is fetched from elsewhere. Bring a model that is whole.")
        if isinstance(value, int) and not isinstance(value, bool) and abs(value) > (DEEPEST if "layers" in name else LARGEST):
            raise BadInput(f"config.json says that {name} is {value:,}; no model that can be followed here is so large.")
    return {name: value for name, value in found.items() if not name.startswith("_") and name not in OURS}


def _parts(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every named part of a JSON value, however deep."""
    if isinstance(value, Mapping):
        for key, part in value.items():
            yield str(key), part
            yield from _parts(part, str(key))
    elif isinstance(value, list):
        for part in value:
            yield name, part
            yield from _parts(part, name)


def kind(config: str) -> str:
    """Return what a model of this config.json classifies, "text" or "images".

    Raises:
        BadInput: the library ships no classifier of this kind.
    """
    library()
    names, model_type = import_module("transformers.models.auto.modeling_auto"), told(config)["model_type"]
    for what, mapping in KINDS.items():
        if model_type in getattr(names, mapping) and model_type not in ELSEWHERE:
            return what
    raise BadInput(
        f"config.json is of a {model_type!r}; the transformers library ships no classifier of texts or images of that kind. "
        "Bring a model for sequence or image classification."
    )


def made(config: str, outputs: int) -> nn.Module:
    """Return the model of a config.json with new weights, drawn by PyTorch's generator.

    Raises:
        BadInput: it cannot be built, or is too large.
    """
    _outlined(config, outputs)
    return _built(config, outputs)


@lru_cache(maxsize=16)
def _outlined(config: str, outputs: int) -> Any:
    """Return the class of the model of a config.json.

    Raises:
        BadInput: it is too large.
    """
    with torch.device("meta"):  # shapes alone
        module = _built(config, outputs)
    size = sum(parameter.numel() for parameter in module.parameters())
    if size > MOST_PARAMETERS:
        raise BadInput(f"A model of this config.json has {size:,} parameters; up to {MOST_PARAMETERS:,} can be followed here.")
    return type(module)


def _built(config: str, outputs: int) -> nn.Module:
    builder = getattr(library(), {"text": "AutoModelForSequenceClassification", "images": "AutoModelForImageClassification"}[kind(config)])
    try:
        return builder.from_config(settings_of(config, outputs), attn_implementation="eager", dtype=torch.float32, trust_remote_code=False)
    except BadInput:
        raise
    except Exception as error:  # whatever the library makes of a value that no model has
        raise BadInput(f"No model can be built from this config.json: {' '.join(str(error).split())[:200]}.") from None


def loaded(config: str, outputs: int, state: Mapping[str, torch.Tensor]) -> tuple[nn.Module, list[str]]:
    """Return the library's own model, attention as it computes it, with these weights; and the names of tensors without a place in it.

    Names that older versions of the library gave are understood.

    Raises:
        BadInput: a weight of the model is missing among them, or has another shape.
    """
    with quiet():
        try:
            model, told = _outlined(config, outputs).from_pretrained(
                None, config=settings_of(config, outputs), state_dict=dict(state), dtype=torch.float32, output_loading_info=True,
                ignore_mismatched_sizes=True,
            )  # fmt: skip
        except Exception as error:  # whatever the library makes of weights that are another model's
            raise BadInput(f"These weights cannot be loaded: {' '.join(str(error).split())[:200]}. Bring the whole folder.") from None
    missing, other = sorted(told["missing_keys"]), sorted(told["mismatched_keys"], key=str)
    if missing:
        raise BadInput(
            f"The weights lack {len(missing)} tensors of the model, such as {missing[0]!r}: they are another model's, or of one that was "
            "not trained to classify. Bring a folder that save_pretrained wrote after training."
        )
    if other:
        name, there, here = other[0]
        raise BadInput(f"{name!r} has shape {tuple(there)} in the weights; the model of config.json needs {tuple(here)}. Bring its own.")
    return model.eval(), sorted(told["unexpected_keys"])


@contextmanager
def quiet() -> Iterator[None]:
    """Let the library draw no bars and print no reports: what they say is said here.

    Yields:
        Nothing.
    """
    log = import_module("transformers.utils.logging")
    level, bars = log.get_verbosity(), log.is_progress_bar_enabled()
    log.set_verbosity_error()
    log.disable_progress_bar()
    try:
        yield
    finally:
        log.set_verbosity(level)
        if bars:
            log.enable_progress_bar()


def settings_of(config: str, outputs: int) -> Any:
    """Return the library's settings of a model with so many outputs.

    Raises:
        BadInput: it does not know what config.json says.
    """
    given = told(config)
    mapping = import_module("transformers.models.auto.configuration_auto").CONFIG_MAPPING
    try:
        found = mapping[given["model_type"]].from_dict({**given, "problem_type": None})
        if found.num_labels != outputs:
            found.num_labels = outputs
        return found
    except Exception as error:  # as above
        raise BadInput(f"This config.json cannot be used: {' '.join(str(error).split())[:200]}.") from None
