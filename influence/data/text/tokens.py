"""From texts to token ids, and back to what was chosen on the way: a tokenizer of either kind, fitted or brought, kept as JSON."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
import pandas as pd

from influence.data.schema import nearest
from influence.data.text.settings import MOST_TOKENS, Reading
from influence.data.text.subwords import Subwords, read_tokenizer
from influence.data.text.words import Words, fit_words
from influence.errors import BadInput

SHARE = 0.95
LONGEST = 256


class Tokenizer(Protocol):
    """Texts to ids, of which 0 stands for no token."""

    @property
    def size(self) -> int:
        """How many ids there are, 0 among them."""

    def lengths(self, texts: Sequence[str]) -> np.ndarray:
        """Return how many tokens each text has, (N,)."""

    def ids(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Return the ids of the first tokens of each text, (N, length) int64."""

    def spans(self, text: str, length: int) -> tuple[str, list[tuple[int, int]]]:
        """Return a text as it is read, and where in it its first tokens begin and end; (0, 0) for one that the tokenizer adds."""

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""


def fitted(reading: Reading, train: Sequence[str]) -> Tokenizer:
    """Return the tokenizer asked for: one that is brought, or the words of the training texts.

    Raises:
        BadInput: one is asked for that cannot be read, or the training texts have no word in common.
    """
    if reading.tokenizer:
        return read_tokenizer(reading.tokenizer)
    found = fit_words(train, reading.vocabulary)
    if not found.words:
        raise BadInput(
            f"No word of {reading.text!r} stands in two training texts, so nothing can be learnt from one for another. Choose another "
            "column, or bring more rows."
        )
    return found


def tokenizer_of(told: Any) -> Tokenizer:
    """Return the tokenizer that a data set keeps as JSON.

    Raises:
        BadInput: it is no such JSON.
    """
    told = told if isinstance(told, Mapping) else {}
    words = told.get("words")
    if told.get("kind") == "words" and isinstance(words, list) and all(isinstance(word, str) for word in words):
        return Words(tuple(words))
    if told.get("kind") == "huggingface" and isinstance(told.get("tokenizer"), str) and told.get("side") in ("left", "right"):
        return Subwords(told["tokenizer"], told["side"])
    raise BadInput("What is said of how texts are read is damaged: there is no tokenizer in it. Bring the model again as it was.")


def stated(told: Mapping[str, Any]) -> dict[str, Any]:
    """Return how texts are read by what somebody else says, every part checked; `column` and `length` may be left open.

    Raises:
        BadInput: it is not of texts, or a part is not of its kind.
    """
    if told.get("kind") != "text":
        raise BadInput("The preprocessing that was brought is not of texts. Leave it out, or leave the text column out.")
    length, column, tokenizer = told.get("length"), told.get("column", ""), tokenizer_of(told.get("tokenizer"))
    fits = length is None or (isinstance(length, int) and not isinstance(length, bool) and 1 <= length <= MOST_TOKENS)
    if not fits or not isinstance(column, str):
        raise BadInput(
            f"What is said of how texts are read is damaged: {str(length)[:20]!r} tokens of {str(column)[:40]!r}. Bring it again."
        )
    return {**told, "vocabulary": tokenizer.size}


def chosen_length(reading: Reading, lengths: np.ndarray, train: np.ndarray) -> int:
    """Return how many tokens are read of each text: at most what is asked for, or what 95 % of the training texts have, at most 256.

    `lengths`: (N,), how many each text has. `train`: (N,) bool.
    """
    usual = min(LONGEST, int(np.quantile(lengths[train], SHARE, method="higher")))
    return max(1, min(reading.length, int(lengths.max())) if reading.length else usual)


def texts_of(column: pd.Series) -> list[str]:
    """Return the texts of a column, "" where a cell is empty.

    Raises:
        BadInput: it holds no texts.
    """
    if not pd.api.types.is_string_dtype(column.dtype) and column.notna().any():
        shown = str(column.dropna().iloc[0])[:40]
        raise BadInput(f"The text column {str(column.name)!r} holds no text, but values such as {shown}. Choose another.")
    return ["" if missing else str(text) for text, missing in zip(column, column.isna(), strict=True)]


def encode_texts(frame: pd.DataFrame, encoding: Mapping[str, Any]) -> np.ndarray:
    """Return x of any rows with this column of texts, (N, T) int64; 0 stands for no token.

    Raises:
        BadInput: the column is not there, or the encoding is not one of texts.
    """
    if encoding.get("kind") != "text":
        raise BadInput("These rows are no texts; their encoding is another. Choose the data set that the encoding belongs to.")
    if encoding["column"] not in frame.columns:
        raise BadInput(f"The column {encoding['column']!r} is not in the table. {nearest(encoding['column'], frame.columns)}")
    return tokenizer_of(encoding["tokenizer"]).ids(texts_of(frame[encoding["column"]]), encoding["length"])
