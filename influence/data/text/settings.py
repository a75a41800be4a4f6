"""What a person chooses of how texts are read."""

from __future__ import annotations

from dataclasses import dataclass

from influence.registry import option

MOST_TOKENS = 1024


@dataclass(frozen=True)
class Reading:
    """Every text becomes a list of token ids of one length."""

    text: str = option("", "The column with the texts", column=True)
    vocabulary: int = option(20_000, "Most words that are told apart: the commonest that two training texts have", min=10, max=1_000_000)
    length: int = option(0, "Tokens read of each text; 0: as many as 95 % of the training texts have, at most 256", min=0, max=MOST_TOKENS)
    tokenizer: str = option("", "Folder with a tokenizer.json of Hugging Face, to read by it instead of by words", advanced=True)
