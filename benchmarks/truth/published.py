"""The published protocol of dattri's benchmark (https://github.com/TRAIS-Lab/dattri): half of the rows, every retraining seeded anew.

MNIST in official order, the first 5,000 training and 500 test rows, normalised by (.1307, .3081). Subset i is
`default_rng(i).choice(5000, 2500, replace=False)`; each model has initial weights, order of rows and dropout of its own. The value asked
about is each test row's cross-entropy. Plain PyTorch and nothing of this project, so that the truth depends on no method: many models are
trained side by side by batched matrix products, and model i of a bank is the same whichever others stand beside it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

N, M = 5000, 500


@dataclass(frozen=True)
class Published:
    """One model of the protocol: widths of its layers and how it is trained (SGD, step size .01)."""

    name: str
    widths: tuple[int, ...]
    epochs: int
    batch: int
    momentum: float = 0.0
    dropout: float = 0.0
    lr: float = 0.01

    @property
    def data(self) -> str:
        """Name of the images."""
        return "fashion_mnist" if self.name.startswith("fashion") else "mnist"

    def module(self, seed: int) -> nn.Sequential:
        """Build the module with weights drawn from this seed: ReLU and dropout after each hidden layer."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            layers: list[nn.Module] = []
            for before, after in zip(self.widths[:-2], self.widths[1:-1], strict=True):
                layers += [nn.Linear(before, after), nn.ReLU(), nn.Dropout(self.dropout)]
            return nn.Sequential(*layers, nn.Linear(*self.widths[-2:]))


PUBLISHED = {
    "mnist_lr": Published("mnist_lr", (784, 10), epochs=20, batch=32),
    "mnist_mlp": Published("mnist_mlp", (784, 128, 64, 10), epochs=50, batch=64, momentum=0.9, dropout=0.1),
    "fashion_mlp": Published("fashion_mlp", (784, 128, 64, 10), epochs=50, batch=64, momentum=0.9, dropout=0.1),
}
"""The last is ours: other images, on which no choice of ours was made."""


def subset(i: int) -> np.ndarray:
    """Rows of which model i of a bank is trained, (2500,)."""
    return np.random.default_rng(i).choice(N, N // 2, replace=False)


def train(setting: Published, rows: np.ndarray, seeds: Sequence[int], x: torch.Tensor, y: torch.Tensor) -> list[torch.Tensor]:
    """Train R models side by side, model r on `rows[r]` (R, n) with `seeds[r]`; return weights (R, in, out), biases (R, 1, out) in turn."""
    modules = [setting.module(seed) for seed in seeds]
    layers = [[layer for layer in module if isinstance(layer, nn.Linear)] for module in modules]
    params = []
    for place in range(len(layers[0])):
        params += [
            torch.stack([own[place].weight.detach().T for own in layers]),
            torch.stack([own[place].bias.detach()[None] for own in layers]),
        ]
    params = [p.contiguous().requires_grad_() for p in params]
    rule = torch.optim.SGD(params, setting.lr, setting.momentum)
    generators = [torch.Generator().manual_seed(seed + 2**32) for seed in seeds]
    mine = torch.from_numpy(rows)
    for _ in range(setting.epochs):
        order = torch.stack([own[torch.randperm(len(own), generator=g)] for own, g in zip(mine, generators, strict=True)])
        for places in order.split(setting.batch, dim=1):
            out = forward(params, x[places], setting.dropout, generators)
            loss = F.cross_entropy(out.flatten(0, 1), y[places].flatten(), reduction="sum") / places.shape[1]
            rule.zero_grad()
            loss.backward()
            rule.step()
    return [p.detach() for p in params]


def forward(
    params: Sequence[torch.Tensor], x: torch.Tensor, dropout: float = 0.0, generators: Sequence[torch.Generator] = ()
) -> torch.Tensor:
    """Logits of R models, (R, B, in) -> (R, B, C); dropout only where each model's generator is given."""
    h = x
    for place in range(0, len(params), 2):
        h = torch.baddbmm(params[place + 1], h, params[place])
        if place + 2 < len(params):
            h = h.relu()
            if dropout and generators:
                kept = torch.stack([torch.rand(h.shape[1:], generator=g) for g in generators]) > dropout
                h = h * kept / (1 - dropout)
    return h


def losses(params: Sequence[torch.Tensor], x: torch.Tensor, y: torch.Tensor) -> np.ndarray:
    """Each model's cross-entropy on each test row, (R, M)."""
    with torch.no_grad():
        out = forward(params, x.expand(len(params[0]), -1, -1))
        return F.cross_entropy(out.transpose(1, 2), y.expand(len(out), -1), reduction="none").numpy()


def module_of(setting: Published, params: Sequence[torch.Tensor], r: int) -> nn.Sequential:
    """Model r as an ordinary module in evaluation mode."""
    module = setting.module(0).eval()
    linear = [layer for layer in module if isinstance(layer, nn.Linear)]
    with torch.no_grad():
        for place, layer in enumerate(linear):
            layer.weight.copy_(params[2 * place][r].T)
            layer.bias.copy_(params[2 * place + 1][r, 0])
    return module
