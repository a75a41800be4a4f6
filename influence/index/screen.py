"""The codes on disk: products of all rows' compressed gradients with a question's."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from influence.index.basis import Basis

NUMBERS = 2**20
"""Numbers converted at a time: what stays in the processor's cache (1,000,000 x 256 in 0.1 s; 2**24 at a time: in 0.4 s or more)."""


class Codes:
    """The coordinates of n rows, bfloat16, mapped from the file where they lie."""

    def __init__(self, folder: Path, basis: Basis, n: int) -> None:
        mapped = np.memmap(folder / "codes.bin", np.int16, "c", shape=(n, basis.size))
        self.basis, self.n = basis, n
        self.values = torch.from_numpy(mapped).view(torch.bfloat16)

    def screen(self, along: torch.Tensor) -> np.ndarray:
        """Return the products of all codes with vectors' coordinates (Q, k), (N, Q) float32.

        The codes were rounded to bfloat16 when they were written (2^-9 of each number at most); their products are those of float32, as a
        product of bfloat16 matrices is rounded to bfloat16 itself.
        """
        along, rows = along.to("cpu", torch.float32), max(1, NUMBERS // self.basis.size)
        out = torch.empty(len(along), self.n)
        for i in range(0, self.n, rows):
            out[:, i : i + rows] = along @ self.values[i : i + rows].float().T
        return out.numpy().T
