"""What is known of one job."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sqlalchemy import Row

State: TypeAlias = Literal["queued", "running", "done", "failed", "cancelled", "lost"]


@dataclass(frozen=True)
class Job:
    """An action with its arguments, and how far it has come.

    `done` of `total` in `stage`, with a `note`. `created`, `started`, `ended`: seconds since 1970. `eta`: seconds that the present stage
    will still take at its rate so far, or None. `paused`: since when it stands still, or None; `waited`: seconds of pauses that are over.
    `error`: a sentence; empty unless failed or lost. `result`: what the action returned.
    """

    id: str
    action: str
    args: Mapping[str, Any]
    state: State
    stage: str
    done: int
    total: int
    note: str
    created: float
    started: float | None
    ended: float | None
    eta: float | None
    error: str
    result: dict[str, Any] | None
    pid: int | None
    paused: float | None = None
    waited: float = 0.0

    @property
    def over(self) -> bool:
        """Whether nothing more will happen to it."""
        return self.state not in ("queued", "running")

    @property
    def seconds(self) -> float:
        """How long it has been worked on, without its pauses."""
        return 0.0 if self.started is None else (self.paused or self.ended or time.time()) - self.started - self.waited


def from_row(row: Row[Any]) -> Job:
    """Return the job of a row of the catalogue."""
    facts = {name: row._mapping[name] for name in Job.__dataclass_fields__ if name in row._mapping}
    result = None if row.result is None else json.loads(row.result)
    return Job(**{**facts, "args": json.loads(row.args), "result": result, "eta": _eta(row)})


def _eta(row: Row[Any]) -> float | None:
    if row.state != "running" or row.paused is not None or row.reported is None or not 0 < row.done <= row.total:
        return None
    per_step = (row.reported - row.staged) / row.done
    return max(0.0, per_step * (row.total - row.done) - (time.time() - row.reported))
