"""Compressed gradients of all training rows, kept on disk: a new question is answered without going through the rows again."""

from influence.index.build import Settings, build
from influence.index.recall import FIRST, Recall
from influence.index.search import Index

__all__ = ["FIRST", "Index", "Recall", "Settings", "build"]
