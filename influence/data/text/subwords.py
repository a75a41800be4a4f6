"""Texts as a model of Hugging Face reads them: by the tokenizer.json that lies beside its weights.

The file is read by the tokenizers library alone, which knows its own parts and runs nobody's program. Ids are one more than the
tokenizer's own, so that 0 stands for no token whatever it pads with.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from influence.data.text.words import READ
from influence.errors import BadInput

MOST_BYTES = 100_000_000
TOGETHER = 1000
INSTALL = "Install it with: pip install -r requirements-text.txt"
NEEDED = "Save it with tokenizer.save_pretrained(folder), which writes tokenizer.json, and bring that folder."


@dataclass(frozen=True)
class Subwords:
    """A tokenizer of Hugging Face: what its tokenizer.json holds, and the side at which texts that are too long are cut."""

    tokenizer: str
    side: str = "right"

    @cached_property
    def _made(self) -> Any:
        try:
            library = import_module("tokenizers")
        except ImportError:
            raise BadInput(f"Tokenizers of Hugging Face need the tokenizers library, which is not installed here. {INSTALL}") from None
        with _careful():
            made = library.Tokenizer.from_str(self.tokenizer)
            made.no_padding()
        return made

    @property
    def size(self) -> int:
        """How many ids there are, 0 (no token) among them."""
        return max(self._made.get_vocab(with_added_tokens=True).values(), default=0) + 2

    def lengths(self, texts: Iterable[str]) -> np.ndarray:
        """Return how many tokens each text has, those that the tokenizer adds among them, (N,) int64."""
        self._made.no_truncation()
        return np.fromiter((len(found) for found in self._read(texts)), dtype=np.int64)

    def ids(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Return the ids of each text cut to so many tokens, one more than the tokenizer's, (N, length) int64; 0 where it has no more.

        Raises:
            BadInput: the length leaves no room for a token of the text, or the tokenizer fails on a text.
        """
        added = self._made.num_special_tokens_to_add(False)
        if length <= added:
            raise BadInput(f"The tokenizer adds {added} tokens to each text; a length of {length} leaves no room. Choose a longer one.")
        self._made.enable_truncation(length, direction=self.side)
        x = np.zeros((len(texts), length), dtype=np.int64)
        for row, found in zip(x, self._read(texts), strict=True):
            row[: len(found)] = np.asarray(found, dtype=np.int64) + 1
        return x

    def spans(self, text: str, length: int) -> tuple[str, list[tuple[int, int]]]:
        """Return a text as far as it is looked at, and where in it its tokens begin and end; what the tokenizer adds is nowhere: (0, 0)."""
        self._made.enable_truncation(length, direction=self.side)
        with _careful():
            found = self._made.encode(text[:READ])
        added = zip(found.offsets, found.special_tokens_mask, strict=True)
        return text[:READ], [(0, 0) if special else tuple(span) for span, special in added]

    def _read(self, texts: Iterable[str]) -> Iterator[list[int]]:
        """Yield each text's own ids."""
        waiting = (text[:READ] for text in texts)
        while some := list(islice(waiting, TOGETHER)):
            with _careful():
                read = self._made.encode_batch(some)
            yield from (found.ids for found in read)

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"kind": "huggingface", "tokenizer": self.tokenizer, "side": self.side}


@contextmanager
def _careful() -> Iterator[None]:
    """Say in one sentence what the tokenizers library does not take; it panics with an error that is no `Exception`.

    Yields:
        Nothing.

    Raises:
        BadInput: it did not take something.
    """
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) and type(error).__name__ != "PanicException":
            raise
        raise BadInput(f"tokenizer.json cannot be used: {' '.join(str(error).split())[:160]}. {NEEDED}") from None


def read_tokenizer(path: str | Path) -> Subwords:
    """Return the tokenizer in a folder of Hugging Face, or in a tokenizer.json.

    Raises:
        BadInput: there is none, it cannot be read, or it asks for a program of its own.
    """
    path = Path(path)
    file = path / "tokenizer.json" if path.is_dir() else path
    if not file.is_file():
        older = path.is_dir() and any(
            (path / name).exists() for name in ("vocab.txt", "vocab.json", "spiece.model", "sentencepiece.bpe.model")
        )
        said = "only an older form of a tokenizer" if older else "no tokenizer.json"
        raise BadInput(f"{str(path.name)!r} holds {said}. {NEEDED}")
    text = _text(file)
    beside = file.with_name("tokenizer_config.json")
    told = _object(_text(beside), beside.name) if beside.is_file() else {}
    if told.get("auto_map"):
        raise BadInput(f"{beside.name} asks for a program of its own (auto_map), which is never run here. {NEEDED}")
    _object(text, file.name)
    made = Subwords(text, "left" if told.get("truncation_side") == "left" else "right")
    if made.size < 3:
        raise BadInput(f"{file.name} knows {made.size - 1} tokens. {NEEDED}")
    return made


def _text(file: Path) -> str:
    try:
        if file.stat().st_size > MOST_BYTES:
            raise BadInput(f"{file.name!r} has {file.stat().st_size / 1e6:,.0f} MB; at most {MOST_BYTES / 1e6:.0f} MB are read.")
        return file.read_text(encoding="utf-8")
    except (OSError, ValueError):
        raise BadInput(f"{file.name!r} cannot be read as text. {NEEDED}") from None


def _object(text: str, name: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise BadInput(f"{name} is no JSON object. {NEEDED}")
    return found
