"""Opening a workbook that may be hostile: a zip archive of XML, each part checked as it is unpacked, before a tree is built of it."""

from __future__ import annotations

import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO, Any
from xml.parsers import expat

from openpyxl.reader.excel import ExcelReader

from influence.data.readers import File
from influence.errors import BadInput

MOST_UNPACKED = 1_000_000_000
MOST_ELEMENTS, MOST_DEPTH, MOST_TOKEN = 16_000_000, 64, 1 << 20
"""Of all XML that is read: elements, nesting, and bytes of one tag or text without a break, over which the parser goes again and again."""
END, END_SIZE, MOST_DIRECTORY = b"PK\x05\x06", 22, 4_000_000  # the end of a zip archive, and bytes of its list of members


class Archive(zipfile.ZipFile):
    """A zip archive that counts what it unpacks, over all members, and refuses what no workbook needs."""

    def __init__(self, file: File) -> None:
        _refuse_directory(file)
        super().__init__(file.stream)
        self.name, self.unpacked, self.elements = file.name, 0, 0
        self.refused: BadInput | None = None
        told = sum(member.file_size for member in self.infolist())
        if told > MOST_UNPACKED:
            raise self.swelling(told)
        if "[Content_Types].xml" not in self.namelist():
            raise BadInput(
                f"{file.name!r} is a zip archive, but no workbook (.npz and PyTorch files are archives too). Unpack it, and bring the "
                "table that is in it."
            )

    def swelling(self, size: int) -> BadInput:
        """Return the refusal of an archive that unpacks to too much."""
        most = MOST_UNPACKED / 1e6
        return self.refusal(f"unpacks to {size / 1e6:,.0f} MB or more, and at most {most:,.0f} MB of a workbook are read")

    def refusal(self, what: str) -> BadInput:
        """Return a refusal, and keep it: openpyxl makes other errors of those that it meets."""
        self.refused = BadInput(f"{self.name!r} {what}. Save the sheet as CSV or Parquet.")
        return self.refused

    def open(self, name: Any, mode: str = "r", *rest: Any, **extra: Any) -> Any:
        """Open a member for reading, checked."""
        return Member(self, super().open(name, "r"))


class Member:
    """A member of an archive, read in small steps: each goes through a parser that builds nothing, ahead of the one that does."""

    def __init__(self, archive: Archive, stream: IO[bytes]) -> None:
        self.archive, self.stream = archive, stream
        self.depth = self.fed = 0
        self.parser = expat.ParserCreate()
        self.parser.StartDoctypeDeclHandler = self._doctype
        self.parser.StartElementHandler = self._start
        self.parser.EndElementHandler = self._end

    def __enter__(self) -> Member:
        return self

    def __exit__(self, *rest: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the member."""
        self.stream.close()

    def read(self, size: int | None = -1) -> bytes:
        """Return the next bytes, all if none are asked for.

        Raises:
            BadInput: they go beyond what a workbook needs.
            ExpatError: they are no XML.
        """
        if size is None or size < 0:
            return b"".join(iter(lambda: self.read(1 << 16), b""))
        data = self.stream.read(size)
        self.archive.unpacked += len(data)
        self.fed += len(data)
        if self.archive.unpacked > MOST_UNPACKED:
            raise self.archive.swelling(self.archive.unpacked)
        self.parser.Parse(data, not data)
        if data and self.fed - self.parser.CurrentByteIndex > MOST_TOKEN:
            raise self.archive.refusal("has a tag longer than any workbook needs")
        return data

    def _doctype(self, *rest: Any) -> None:
        raise self.archive.refusal("has a document type, which can name other files and swell, and is not read")

    def _start(self, *rest: Any) -> None:
        self.depth += 1
        self.archive.elements += 1
        if self.depth > MOST_DEPTH or self.archive.elements > MOST_ELEMENTS:
            raise self.archive.refusal(f"has parts nested more than {MOST_DEPTH} deep, or more than {MOST_ELEMENTS:,} of them")

    def _end(self, *rest: Any) -> None:
        self.depth -= 1


def _refuse_directory(file: File) -> None:
    """Look at the list of members before it is read.

    Raises:
        BadInput: it takes more memory than any workbook's, or there is none.
    """
    file.stream.seek(max(0, file.size - END_SIZE - (1 << 16)))
    tail = file.stream.read()
    place = len(tail) - END_SIZE if tail[-END_SIZE:].startswith(END) else tail.rfind(END)
    if place < 0 or len(tail) < place + 16:
        raise file.damaged("Excel")
    if int.from_bytes(tail[place + 12 : place + 16], "little") > MOST_DIRECTORY:
        raise BadInput(f"{file.name!r} is a zip archive of more parts than a workbook has. Save the sheet as CSV or Parquet.")


@contextmanager
def workbook(file: File) -> Iterator[Any]:
    """Yield the workbook: its values as they were last stored, no formulas, links to other files or macros.

    Raises:
        BadInput: it is damaged, swells, or has a document type.
    """
    with Archive(file) as archive:
        reader = ExcelReader(file.stream, read_only=True, data_only=True, keep_links=False)
        reader.archive = archive
        try:
            reader.read()
            yield reader.wb
        except Exception:
            if archive.refused:
                raise archive.refused from None
            raise
