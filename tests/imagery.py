"""Image files and sets of them, small enough to be made anew in each test."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def packed(pixels: np.ndarray, kind: str = "PNG", **given: Any) -> bytes:
    """The bytes of an image file."""
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, kind, **given)
    return file.getvalue()


def grey(seed: int = 0, size: tuple[int, int] = (6, 6), bright: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(bright, bright + 120, size).astype(np.uint8)


def colour(seed: int = 0, size: tuple[int, int] = (6, 6)) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 255, (*size, 3)).astype(np.uint8)


def two_classes(n: int = 40, **size: Any) -> dict[str, bytes]:
    """n images of each of two classes, one darker than the other, by path."""
    kinds = (("dark", 0), ("light", 130))
    return {f"{name}/{i:03d}.png": packed(grey(1000 * bright + i, bright=bright, **size)) for name, bright in kinds for i in range(n)}


def as_folder(root: Path, files: Mapping[str, bytes]) -> Path:
    for path, data in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(data)
    return root


def as_zip(path: Path, files: Mapping[str, bytes], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path
