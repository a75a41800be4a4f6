"""The ledger: what was done, with what, and what came out; each record carries the hash of the one before it, so a change shows."""

from __future__ import annotations

import hashlib
import importlib.metadata
import json
import platform
import sys
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Row, select

from influence.store.catalogue import now, record, run
from influence.store.formats import canonical
from influence.store.objects import Objects, intact, is_digest

GENESIS = "0" * 64
"""What the first record has for the hash of the one before it."""


@dataclass(frozen=True)
class Record:
    """One thing that was done.

    `body`: seq, kind, created (UTC), inputs, settings, outputs, measures, seconds, runs (hashes of the runs among the outputs) and
    environment (versions and machine). `hash` = SHA-256 of `prev` followed by the canonical JSON of the body.
    """

    seq: int
    kind: str
    created: str
    body: Mapping[str, Any]
    prev: str
    hash: str


def append(connection: Connection, kind: str, facts: Mapping[str, Any]) -> Record:
    """Add a record to the chain; the transaction of `connection` must be one that keeps other writers out."""
    last = connection.execute(select(record.c.seq, record.c.hash).order_by(record.c.seq.desc()).limit(1)).first()
    seq, prev = (last.seq + 1, last.hash) if last else (1, GENESIS)
    created = now()
    made = _runs(connection, facts.get("outputs", {}))
    body = canonical({**facts, "seq": seq, "kind": kind, "created": created, "runs": made, "environment": environment()})
    row = {"seq": seq, "kind": kind, "created": created, "body": body, "prev": prev, "hash": chained(prev, body)}
    connection.execute(record.insert().values(**row))
    return Record(**{**row, "body": json.loads(body)})


def chained(prev: str, body: str) -> str:
    """Return the hash of a record from its predecessor's and its canonical body."""
    return hashlib.sha256((prev + body).encode()).hexdigest()


def read(connection: Connection) -> list[Record]:
    """Return all records, oldest first."""
    rows = connection.execute(select(record).order_by(record.c.seq))
    return [Record(row.seq, row.kind, row.created, json.loads(row.body), row.prev, row.hash) for row in rows]


def check(connection: Connection, objects: Objects, deep: bool = False) -> list[str]:
    """Return what does not hold, as sentences: the chain, the runs, and the objects that records name (`deep`: their bytes, too).

    Records missing at the end cannot be noticed from the chain alone.
    """
    findings: list[str] = []
    prev, seen = GENESIS, set[str]()
    for place, row in enumerate(connection.execute(select(record).order_by(record.c.seq)), start=1):
        findings += [f"Record {row.seq}: {what}" for what in _broken(row, place, prev)]
        prev = row.hash
        body = _parsed(row.body)
        findings += [f"Record {row.seq} ({row.kind}): {what}" for what in _changed_runs(connection, body.get("runs", {}))]
        for digest in _named(connection, body):
            if digest not in seen:
                seen.add(digest)
                findings += [f"Record {row.seq} ({row.kind}): {what}" for what in _damaged(objects, digest, deep)]
    return findings


def _broken(row: Row[Any], place: int, prev: str) -> Iterator[str]:
    if row.seq != place:
        yield f"its number should be {place}; a record is missing before it."
    if row.prev != prev:
        yield "it does not follow the record before it."
    if row.hash != chained(row.prev, row.body):
        yield "its content was changed; the hash does not fit."
    body = _parsed(row.body)
    if (row.seq, row.kind, row.created) != (body.get("seq"), body.get("kind"), body.get("created")):
        yield "its number, kind or time was changed."


def _parsed(text: str | bytes) -> dict[str, Any]:
    try:
        value = json.loads(text)
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}


def _runs(connection: Connection, outputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the hash of each run that the outputs name, so that the chain vouches for runs, too."""
    texts = [value for value in outputs.values() if isinstance(value, str)]
    rows = connection.execute(select(run).where(run.c.id.in_(texts)))
    return {row.id: _run_hash(row) for row in rows}


def _run_hash(row: Row[Any]) -> str:
    facts = {name: row._mapping[name] for name in ("id", "kind", "name", "created", "dataset", "parent", "body")}
    return hashlib.sha256(canonical(facts).encode()).hexdigest()


def _changed_runs(connection: Connection, hashes: Mapping[str, str]) -> Iterator[str]:
    for name, kept in hashes.items():
        row = connection.execute(select(run).where(run.c.id == name)).first()
        if row is None:
            yield f"its run {name} is gone."
        elif _run_hash(row) != kept:
            yield f"its run {name} was changed."


def _named(connection: Connection, body: Mapping[str, Any]) -> Iterator[str]:
    """Yield the objects that a record's outputs name, and those of its runs: data set, checkpoints, trajectory."""
    yield from digests(body.get("outputs", {}))
    for name in body.get("runs", {}):
        row = connection.execute(select(run.c.dataset, run.c.body).where(run.c.id == name)).first()
        if row is not None:
            kept = _parsed(row.body)
            yield row.dataset
            yield from digests([kept.get("checkpoints"), kept.get("trajectory")])


def digests(value: Any) -> Iterator[str]:
    """Yield every digest in a JSON value."""
    if is_digest(value):
        yield value
    elif isinstance(value, Mapping):
        for part in value.values():
            yield from digests(part)
    elif isinstance(value, list | tuple):
        for part in value:
            yield from digests(part)


def _damaged(objects: Objects, digest: str, deep: bool) -> Iterator[str]:
    path = objects.find(digest)
    if path is None:
        yield f"its object {digest[:12]}… is gone."
        return
    if deep and not intact(path):
        yield f"its object {path.name[:12]}… was changed."
    if path.suffix == ".json":
        parts = _parsed(path.read_bytes()).get("objects", {})
        for part in digests(parts):
            yield from _damaged(objects, part, deep)


def environment() -> dict[str, str]:
    """Return the versions and the machine that make a run bit-equal; `cpu` is the instruction set that PyTorch uses, once it is loaded."""
    torch = sys.modules.get("torch")
    return {**_versions(), "cpu": torch.backends.cpu.get_cpu_capability() if torch else ""}


@cache
def _versions() -> dict[str, str]:
    libraries = {name: importlib.metadata.version(name) for name in ("torch", "numpy", "pandas")}
    return {"lethe": _own_version(), "python": platform.python_version(), **libraries, "platform": platform.platform()}


def _own_version() -> str:
    try:
        return importlib.metadata.version("lethe")
    except importlib.metadata.PackageNotFoundError:  # run from a checkout
        project = Path(__file__).parents[2] / "pyproject.toml"
        return str(tomllib.loads(project.read_text(encoding="utf-8"))["project"]["version"])
