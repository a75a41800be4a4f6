"""A model from Hugging Face's hub by its name: the files that are read, and no others, into the library's own cache."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import Any

from influence.errors import BadInput
from influence.exchange.weights import MOST_BYTES

PREFIX = "hub:"
NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
FILES = ("config.json", "model*.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
INSTALL = "Install it with: pip install -r requirements-text.txt"


def fetched(path: str) -> str:
    """Return the folder of a model that is named "hub:OWNER/NAME"; any other path as it is.

    Raises:
        BadInput: it is no name, it is too large, or the hub cannot be reached or has no such model.
    """
    if not path.startswith(PREFIX):
        return path
    name = path.removeprefix(PREFIX)
    if not NAME.fullmatch(name) or ".." in name:
        raise BadInput(f"{path[:120]!r} is no model of the hub. Name it as hub:OWNER/NAME.")
    try:
        hub = import_module("huggingface_hub")
    except ImportError:
        raise BadInput(f"Models of the hub need the huggingface_hub library, which is not installed here. {INSTALL}") from None
    try:
        _refuse_large(hub, name)
        return str(Path(hub.snapshot_download(name, allow_patterns=list(FILES))))
    except BadInput:
        raise
    except Exception as error:  # whatever the library and the network bring about
        said = " ".join(str(error).split())[:160]
        raise BadInput(
            f"{name!r} could not be had from the hub ({type(error).__name__}: {said}). Offline? Where there is a network, `hf download "
            f"{name} --local-dir FOLDER` brings it; then give the folder."
        ) from None


def _refuse_large(hub: Any, name: str) -> None:
    """See that what would be downloaded is no more than weights are read; without a network there is only what is here already.

    Raises:
        BadInput: it is more.
    """
    try:
        listed = hub.snapshot_download(name, allow_patterns=list(FILES), dry_run=True)
    except hub.errors.DryRunError:
        return
    size = sum(file.file_size for file in listed if file.will_download)
    if size > MOST_BYTES:
        raise BadInput(
            f"{name!r} has {size / 1e9:,.1f} GB on the hub; at most {MOST_BYTES / 1e9:.0f} GB are brought. "
            "Check the name, or take a smaller model."
        )
