"""How results leave Lethe: files and folders that are whole or not at all, and CSV that a spreadsheet shows and never executes.

A spreadsheet takes a cell that begins with one of = + - @ for a formula (OWASP, CSV Injection), whoever wrote it into the data. Such text
gets an apostrophe in front, numbers stay numbers, and `unescaped` takes it away again. Cells of text are quoted, so that no other separator
can cut a formula out of one.
"""

from __future__ import annotations

import csv
import os
import re
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from influence.errors import BadInput

if TYPE_CHECKING:
    import pandas as pd

    from influence.types import Scores

FORMULA = re.compile(r"'*[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")
"""How text begins that a spreadsheet may execute; with apostrophes before it, so that escaping can be undone."""
NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")


def csv_text(table: pd.DataFrame) -> str:
    """Return a table as CSV without its index: UTF-8 text, a header line, every cell of text quoted and no formulas."""
    return str(escaped(table).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC))


def escaped(table: pd.DataFrame) -> pd.DataFrame:
    """Return the table with an apostrophe before every header and cell of text that a spreadsheet would take for a formula."""
    from pandas.api.types import is_bool_dtype, is_datetime64_any_dtype, is_numeric_dtype

    made = table.copy(deep=False)
    for place, kind in enumerate(made.dtypes):
        if not (is_numeric_dtype(kind) or is_bool_dtype(kind) or is_datetime64_any_dtype(kind)):
            made.isetitem(place, made.iloc[:, place].astype(object).map(_escaped))
    return made.set_axis([_escaped(name) for name in made.columns], axis="columns")


def _escaped(cell: Any) -> Any:
    return f"'{cell}" if isinstance(cell, str) and FORMULA.match(cell) and not NUMBER.fullmatch(cell) else cell


def unescaped(cell: Any) -> Any:
    """Return a cell as it was before `escaped`."""
    return cell[1:] if isinstance(cell, str) and cell.startswith("'") and _escaped(cell[1:]) == cell else cell


def write_table(table: pd.DataFrame, out: Path) -> Path:
    """Write a table as Parquet if the file is called so, else as CSV; whole or not at all.

    Raises:
        BadInput: the file cannot be written.
    """
    if out.suffix.lower() == ".parquet":
        return whole_file(out, lambda half: table.to_parquet(half, index=False))
    return whole_file(out, lambda half: half.write_text(csv_text(table), encoding="utf-8", newline=""))


def write_scores(scores: Scores, out: Path, better: str) -> Path:
    """Write scores: id and one column per question; as Parquet, which says which way is better in its metadata, or as CSV.

    Raises:
        BadInput: the file cannot be written; the scores are in the project.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    columns = {"id": scores.ids, **{label: scores.values[:, i] for i, label in enumerate(scores.labels)}}
    if out.suffix.lower() == ".csv":
        return write_table(pd.DataFrame(columns), out)
    table = pa.table(columns).replace_schema_metadata({"better": better})
    return whole_file(out, lambda half: pq.write_table(table, half))


def writable(path: Path, option: str = "--out") -> None:
    """See that a file can be written, before anything is computed for it.

    Raises:
        BadInput: it cannot.
    """
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if path.is_dir() or not folder.is_dir() or not os.access(folder, os.W_OK):
        raise BadInput(f"{str(path)!r} cannot be written: it is a folder, or its folder is no place to write. Give another {option}.")


def whole_file(out: Path, write: Callable[[Path], object]) -> Path:
    """Let `write` fill a file beside `out`, then put it in its place, and return it; nothing is left of one that fails.

    Raises:
        BadInput: the file cannot be written.
    """
    half = out.with_name(f".{out.name}.{os.getpid()}")
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write(half)
        half.replace(out)
    except OSError as error:
        raise BadInput(_unwritable(out, error)) from None
    finally:
        with suppress(OSError):
            half.unlink()
    return out


@contextmanager
def whole_folder(out: Path) -> Iterator[Path]:
    """Lend out a folder beside `out` that takes its place at the end; nothing is left of one that fails or is cancelled.

    Yields:
        The folder to fill.

    Raises:
        BadInput: `out` exists, or cannot be written.
    """
    if out.exists() or out.is_symlink():
        raise BadInput(f"{str(out)!r} exists already, and nothing is written over. Give a new folder.")
    half = out.with_name(f".{out.name}.half")
    try:
        shutil.rmtree(half, ignore_errors=True)  # of a process that was killed
        half.mkdir(parents=True)
        yield half
        half.rename(out)
    except OSError as error:
        raise BadInput(_unwritable(out, error)) from None
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _unwritable(out: Path, error: OSError) -> str:
    return f"{str(out)!r} cannot be written ({error.strerror or error}). Give another place; what the project keeps stays there."
