"""Walks back through a recorded training: the metagradient, and when not to trust it."""

from influence.replay.walk import Walked, walk

__all__ = ["Walked", "walk"]
