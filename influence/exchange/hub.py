"""A model from Hugging Face's hub by its name: the files that are read, and no others, into the library's own cache."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path

from influence.errors import BadInput

PREFIX = "hub:"
NAME = re.compile(r"[\w.-]{1,96}(/[\w.-]{1,96})?")
FILES = ("config.json", "model*.safetensors", "tokenizer.json", "tokenizer_config.json", "preprocessor_config.json")
INSTALL = "Install it with: pip install -r requirements-text.txt"


def fetched(path: str) -> str:
    """Return the folder of a model that is named "hub:OWNER/NAME"; any other path as it is.

    Raises:
        BadInput: it is no name, or the hub cannot be reached or has no such model.
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
        return str(Path(hub.snapshot_download(name, allow_patterns=list(FILES))))
    except Exception as error:  # whatever the library and the network bring about
        said = " ".join(str(error).split())[:160]
        raise BadInput(
            f"{name!r} could not be had from the hub ({type(error).__name__}: {said}). Offline? Where there is a network, `hf download "
            f"{name} --local-dir FOLDER` brings it; then give the folder."
        ) from None
