"""Texts as words: cut at blanks and punctuation, numbered by how many training texts have them.

The letters of one script need their marks (vowel signs, accents), which regular expressions do not count as letters; scripts that set no
blanks between words (Chinese, Japanese) are read letter by letter, as BERT does (Devlin et al., arXiv:1810.04805).
"""

from __future__ import annotations

import re
import sys
import unicodedata
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from itertools import groupby
from typing import Any

import numpy as np

NOTHING, UNKNOWN, FIRST = 0, 1, 2
"""Ids: no token, a word that is not in the vocabulary, and the first word that is."""
LONGEST = 64
"""Letters of a word; a longer one is no word of any language."""
READ = 20_000
"""Characters of a text that are looked at."""
LETTER_BY_LETTER = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff"


@dataclass(frozen=True)
class Words:
    """A vocabulary: `words` in the order of their ids, the first of which is 2."""

    words: tuple[str, ...]

    @property
    def size(self) -> int:
        """How many ids there are, 0 (no token) among them."""
        return FIRST + len(self.words)

    @cached_property
    def _ids(self) -> dict[str, int]:
        return {word: place for place, word in enumerate(self.words, FIRST)}

    def lengths(self, texts: Iterable[str]) -> np.ndarray:
        """Return how many tokens each text has, (N,) int64."""
        return np.fromiter((len(cut(text)) for text in texts), dtype=np.int64)

    def ids(self, texts: Sequence[str], length: int) -> np.ndarray:
        """Return the ids of the first tokens of each text, (N, length) int64, 0 where it has no more."""
        x, known = np.zeros((len(texts), length), dtype=np.int64), self._ids
        for row, text in zip(x, texts, strict=True):
            found = [known.get(word, UNKNOWN) for word in cut(text)[:length]]
            row[: len(found)] = found
        return x

    def spans(self, text: str, length: int) -> tuple[str, list[tuple[int, int]]]:
        """Return a text as it is read, and where in it its first tokens begin and end."""
        read = _plain(text)
        return read, [found.span() for found, _ in zip(_piece().finditer(read), range(length), strict=False)]

    def described(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {"kind": "words", "words": list(self.words)}


def fit_words(texts: Iterable[str], most: int) -> Words:
    """Return the vocabulary of these texts: the commonest words that at least two of them have, so many that there are `most` ids.

    A word of a single text would be learnt from that text alone, and would give it away in a vocabulary that is kept.
    """
    counts = Counter(word for text in texts for word in dict.fromkeys(cut(text)) if len(word) <= LONGEST)
    ranked = sorted((-n, word) for word, n in counts.items() if n > 1)
    return Words(tuple(word for _, word in ranked[: max(0, most - FIRST)]))


def cut(text: str) -> list[str]:
    """Return the words and signs of a text in lower case, in order."""
    return _piece().findall(_plain(text))


def _plain(text: str) -> str:
    return unicodedata.normalize("NFKC", text[:READ]).lower()


@lru_cache(maxsize=1)
def _piece() -> re.Pattern[str]:
    marks = _marks()
    letter = rf"[^\W{LETTER_BY_LETTER}]"
    return re.compile(rf"[{LETTER_BY_LETTER}]|(?:{letter}[{marks}]*)+(?:['\u2019](?:{letter}[{marks}]*)+)?|[^\w\s\x00-\x1f\x7f]")


def _marks() -> str:
    """Return the ranges of the characters that Unicode calls marks, for a class of a regular expression."""
    found = [code for code in range(0x300, sys.maxunicode + 1) if unicodedata.category(chr(code))[0] == "M"]
    runs = [list(run) for _, run in groupby(enumerate(found), key=lambda pair: pair[1] - pair[0])]
    return "".join(f"{chr(run[0][1])}-{chr(run[-1][1])}" for run in runs)
