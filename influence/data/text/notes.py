"""What a person should know of how texts were read, in sentences."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np


def read(encoding: Mapping[str, Any], texts: Sequence[str], lengths: np.ndarray) -> str:
    """Say into what texts (N,) were cut, and how many are longer than what is read of them; `lengths`: how many tokens each has, (N,)."""
    size, length = encoding["vocabulary"], encoding["length"]
    words = encoding["tokenizer"]["kind"] == "words"
    told = f"as the {size - 2:,} words that two training texts have" if words else f"by a tokenizer of {size - 1:,} tokens that was brought"
    cut, empty = int((lengths > length).sum()), sum(not text.strip() for text in texts)
    longer = f"{cut:,} of {len(texts):,} texts ({cut / len(texts):.1%}) are longer and are cut; the longest has {int(lengths.max()):,}."
    said = f"Texts are read {told}, {length:,} tokens of each. {longer if cut else 'No text is longer.'}"
    return said + (f" {empty:,} {'text is' if empty == 1 else 'texts are'} empty." if empty else "")


def copies(texts: Sequence[str], labels: np.ndarray, train: np.ndarray) -> str:
    """Say how many test texts are also among the training texts, and how many of those stand there with two labels.

    `texts`, `labels`, `train`: (N,), the texts, their classes or numbers, and which are training rows (bool).
    """
    labelled: dict[str, set[Any]] = {}
    for text, label, mine in zip(texts, labels, train, strict=True):
        if mine and text.strip():
            labelled.setdefault(text, set()).add(label)
    leaked = sum(text in labelled for text, mine in zip(texts, train, strict=True) if not mine)
    torn = sum(len(found) > 1 for found in labelled.values())
    said = [
        f"{leaked:,} test {'texts stand' if leaked > 1 else 'text stands'} among the training texts too." if leaked else "",
        f"{torn:,} training {'texts occur' if torn > 1 else 'text occurs'} again with another label." if torn else "",
    ]
    return " ".join(filter(None, said))
