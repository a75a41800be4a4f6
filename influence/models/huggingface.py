"""Classifiers of the transformers library (Wolf et al., arXiv:1910.03771), with attention written out of operations that can be followed.

Texts come as token ids with 0 for no token and k + 1 for the tokenizer's token k; images as (channels, height, width) from 0 to 1; or,
by name, whatever the model itself takes.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from torch import nn

from influence.errors import BadInput
from influence.models import _transformers
from influence.models._embedding import usual
from influence.registry import models, option


@models
@dataclass(frozen=True)
class HuggingFace:
    """A text or image classifier of the transformers library, built from what its config.json says.

    It comes with `import-model FOLDER DATA --text COL`; trained from a config alone it starts from new weights. Attention is computed
    without fused kernels, which lack the derivatives that walks and sweeps take.
    """

    brought: ClassVar[bool] = True
    text: ClassVar[bool] = True
    inputs: tuple[int, ...] = ()
    outputs: int = 0
    config: str = option("", "What config.json says")
    normalised: str = option("", "Images: mean and sd of each channel, subtracted and divided by: 0.5,0.5,0.5/0.5,0.5,0.5")

    @property
    def vocabulary(self) -> int:
        """How many token ids it reads, 0 (no token) among them."""
        known = _transformers.told(self.config).get("vocab_size") if self.config else None
        return known + 1 if isinstance(known, int) else 0

    @staticmethod
    def usual(rows: int) -> dict[str, Any]:
        """Return the recipe for so many rows where nothing else is chosen."""
        return usual(rows, lr=5e-4, warmup=0.1)

    @staticmethod
    def sized(shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Any]:
        """Return the settings that weights of these shapes tell: none, config.json must come with them."""
        return {}

    def __call__(self) -> nn.Module:
        """Build it, (B, length) or (B, channels, height, width) or those by name -> (B, outputs).

        Raises:
            BadInput: the library is not installed, config.json cannot be used, or the model does not take such inputs.
        """
        if not self.config:
            raise BadInput("A model of Hugging Face needs its config.json. Bring its folder: import-model FOLDER DATA --text COLUMN.")
        module = _transformers.made(self.config, self.outputs)
        inputs = _Inputs(levels_of(self.normalised))
        module.register_forward_pre_hook(inputs, with_kwargs=True)
        module.register_forward_hook(_logits)
        self._try(module, inputs)
        return module

    def _try(self, module: nn.Module, inputs: _Inputs) -> None:
        """Run two rows through it, if they come as one array: some models take no texts so long, images so small, or no two at a time.

        Raises:
            BadInput: it does not take them.
        """
        if not self.inputs or next(module.parameters()).device.type == "meta":
            return
        what = _transformers.kind(self.config)
        if len(self.inputs) != {"text": 1, "images": 3}[what]:
            raise BadInput(f"This model classifies {what}; these inputs have shape {self.inputs}. Bring the data that it was trained on.")
        rows = torch.ones(2, *self.inputs, dtype=torch.long if what == "text" else torch.float32)
        rows[1, 1:] *= what == "images"  # the second text has one token
        training = module.training
        try:
            with torch.no_grad():
                found = module.eval()(rows)
                inputs.places = "position_ids" in inspect.signature(module.forward).parameters and what == "text"
                inputs.places = inputs.places and bool(torch.equal(module(rows), found))
        except Exception as error:  # whatever a model of somebody else's settings brings about
            said = " ".join(str(error).split())[:160]
            raise BadInput(f"This model does not take inputs of shape {self.inputs}: {said}. Choose another length or size.") from None
        module.train(training)
        if found.shape != (2, self.outputs):
            raise BadInput(f"This model answers {tuple(found.shape[1:])} to a row; {self.outputs} outputs are needed.")


@dataclass
class _Inputs:
    """Gives a model its inputs by name. `places`: whether it is told each row's positions, which it would else look up once for all rows.

    So each row has a gradient of its own by their vectors, and sweeps need no second way for these.
    """

    levels: tuple[list[float], list[float]] | None
    places: bool = False

    def __call__(self, module: nn.Module, given: tuple[Any, ...], rest: dict[str, Any]) -> tuple[tuple[Any, ...], dict[str, Any]]:
        x, *_ = given
        named = dict(x) if isinstance(x, Mapping) else by_name(x, module.config, self.levels)
        tokens = named.get("input_ids")
        if self.places and tokens is not None and "position_ids" not in named:
            named["position_ids"] = torch.arange(tokens.shape[-1], device=tokens.device).expand(tokens.shape)
        return (), {**rest, **named}


def levels_of(normalised: str) -> tuple[list[float], list[float]] | None:
    """Return mean and sd of each channel, or None if there are none.

    Raises:
        BadInput: they are no such numbers.
    """
    if not normalised:
        return None
    try:
        mean, sd = ([float(part) for part in side.split(",")] for side in normalised.split("/"))
        assert len(mean) == len(sd)
        assert all(map(math.isfinite, mean))
        assert all(math.isfinite(s) and s > 0 for s in sd)
    except (ValueError, AssertionError):
        raise BadInput(f"normalised must be means and sds such as 0.5,0.5,0.5/0.5,0.5,0.5; got {normalised[:80]!r}.") from None
    return mean, sd


def by_name(x: torch.Tensor, config: Any, levels: tuple[list[float], list[float]] | None = None) -> dict[str, torch.Tensor]:
    """Return images, or tokens and which of them are there, under the names that models of the library take."""
    if x.is_floating_point():
        mean, sd = (x.new_tensor(part)[:, None, None] for part in levels or ([0.0], [1.0]))
        return {"pixel_values": (x - mean) / sd}
    there, none = x > 0, getattr(config, "pad_token_id", None) or 0
    seen = torch.cat([torch.ones_like(there[:, :1]), there[:, 1:]], 1)  # a text of no token is one of padding: nothing at all has no answer
    return {"input_ids": torch.where(there, x - 1, none), "attention_mask": seen.long()}


def _logits(module: nn.Module, given: tuple[Any, ...], found: Any) -> torch.Tensor:
    """Take the outputs from what the model says."""
    logits: torch.Tensor = found.logits
    return logits
