"""Progress of a part of the work, told as progress of the whole."""

from __future__ import annotations

from influence.types import Event, Report


def part(report: Report, stage: str, start: int, total: int, share: int) -> Report:
    """Return a `Report` for a part that counts by itself: it is told as `share` of `total`, from `start`."""
    return lambda event: report(Event(stage, start + share * event.done // max(1, event.total), total, event.note))
