"""Patterns of training rows behind a question's value: what to look for (`atoms`), and the search (`search`)."""

from influence.patterns.search import Suspect, suspects

__all__ = ["Suspect", "suspects"]
