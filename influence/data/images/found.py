"""Images that were found somewhere, before one of them is decoded: the one value between all sources and the data set."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from posixpath import splitext
from typing import TypeAlias

import numpy as np
import pandas as pd

from influence.data.rows import MOST_ID_LENGTH
from influence.data.target import Task
from influence.errors import BadInput

MOST_IMAGES = 1_000_000
Read: TypeAlias = Callable[[int], bytes | np.ndarray]
"""Returns the image at a place: the bytes of its file, or its pixels (C, H, W) float32 from 0 to 1; raises `Unreadable`."""


@dataclass(frozen=True)
class Images:
    """N images in the order of their source.

    `name`: what the source is called. `table`: N rows, a `path` and what else is told of each image. `ids`: (N,), distinct.
    `label`, `split`: the columns of `table` that say the class and the role, where nothing else is chosen; "" if none does.
    `opened()`: a context in which images are read; places that ascend are read fastest. `shape`: (C, H, W) of all images, if that is known.
    `task`: whether labels are classes. `remarks`: sentences on what was passed over. `kind`: what the source is, in one word.
    """

    kind: str
    name: str
    table: pd.DataFrame
    ids: np.ndarray
    opened: Callable[[], AbstractContextManager[Read]] = field(repr=False, compare=False)
    label: str = ""
    split: str = ""
    shape: tuple[int, int, int] | None = None
    task: Task = "classes"
    remarks: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.table)


def ids_of(paths: list[str]) -> np.ndarray:
    """Return (N,) text: paths without their suffixes where these are distinct, else the paths.

    Raises:
        BadInput: one is too long.
    """
    bare = [splitext(path)[0] for path in paths]
    ids = np.array(bare if len(set(bare)) == len(bare) else paths, dtype=np.str_)
    if ids.dtype.itemsize // 4 > MOST_ID_LENGTH:
        longest = max(paths, key=len)
        raise BadInput(f"The path '…{longest[-60:]}' has {len(longest)} characters; at most {MOST_ID_LENGTH} are read. Shorten it.")
    return ids


def refuse_many(count: int, name: str) -> None:
    """Refuse more images than a data set can have.

    Raises:
        BadInput: there are.
    """
    if count > MOST_IMAGES:
        raise BadInput(f"{name!r} holds {count:,} images or more; at most {MOST_IMAGES:,} are read. Take a sample of them.")
