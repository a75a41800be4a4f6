"""Patterns of training rows behind a question's value: what to look for (`atoms`), the search (`search`), and whole columns (`blocks`)."""

from influence.patterns.blocks import Block, Blocks, blocks_of
from influence.patterns.search import Sums, Suspect, suspects

__all__ = ["Block", "Blocks", "Sums", "Suspect", "blocks_of", "suspects"]
