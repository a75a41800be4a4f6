"""The project folder: objects by content, a catalogue that many processes share, and a ledger whose records are chained."""

from influence.store.ledger import Record
from influence.store.project import Project, Run

__all__ = ["Project", "Record", "Run"]
