"""What a method's work takes, without what it waits for."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Generic, TypeVar

Given = TypeVar("Given")
Found = TypeVar("Found")


class Aside(Generic[Given, Found]):
    """A function that says how long its calls took: looks are for the eye, and a pause is spent in a report; no part of what work costs."""

    def __init__(self, call: Callable[[Given], Found]) -> None:
        self.call, self.seconds = call, 0.0

    def __call__(self, given: Given) -> Found:
        """Call it."""
        began = time.perf_counter()
        try:
            return self.call(given)
        finally:
            self.seconds += time.perf_counter() - began
