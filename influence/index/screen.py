"""The codes on disk: products of all rows' compressed gradients with a question's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from influence.index.basis import Basis

ROWS = 65_536
"""Rows screened at a time."""


class Codes:
    """The coordinates of n rows, bfloat16, mapped from the file where they lie."""

    def __init__(self, folder: Path, basis: Basis, n: int) -> None:
        mapped = np.memmap(folder / "codes.bin", np.int16, "c", shape=(n, basis.size))
        self.basis, self.n = basis, n
        self.values = torch.from_numpy(mapped).view(torch.bfloat16)

    def screen(self, along: torch.Tensor) -> np.ndarray:
        """Return the products of all codes with vectors' coordinates (Q, k), (N, Q) float32.

        The vectors are given as sums of two bfloat16 vectors: products of bfloat16 matrices are several times faster than a conversion, and
        only the codes are rounded.
        """
        along = along.cpu()
        coarse = along.bfloat16()
        both = torch.cat([coarse, (along - coarse.to(along.dtype)).bfloat16()]).T.contiguous()
        parts = [(self.values[i : i + ROWS] @ both).float() for i in range(0, self.n, ROWS)]
        return torch.cat(parts).view(self.n, 2, len(along)).sum(1).numpy()
