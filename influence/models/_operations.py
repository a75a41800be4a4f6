"""Operations that a graph from elsewhere may call, each by its name in PyTorch's `aten` namespace; any other name is refused.

The namespace alone would not do: `aten::from_file` opens files, others draw random numbers or take their sizes from data. What is listed
computes its result from its arguments, and nothing else. Operations with parameters are called as people call them (`F.linear`, not
`aten::linear`), so that sweeps see where parameters are used.
"""

from __future__ import annotations

import math
import operator
from collections.abc import Callable
from functools import lru_cache
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from influence.errors import BadInput

LISTED = {
    "views": """view reshape _unsafe_view flatten unflatten squeeze unsqueeze transpose permute t expand_as select slice narrow chunk
        split split_with_sizes unbind movedim view_as reshape_as alias contiguous detach to _to_copy type_as dropout feature_dropout
        alpha_dropout lift_fresh diagonal unfold swapaxes""",
    "arithmetic": """sub rsub div neg abs sign pow sqrt rsqrt square reciprocal exp expm1 exp2 log log1p log2 log10 sin cos tan tanh sinh
        cosh asin acos atan atan2 erf erfc floor ceil round trunc frac clamp clamp_min clamp_max maximum minimum fmod remainder
        floor_divide lerp addcmul addcdiv nan_to_num""",
    "choices": """eq ne lt le gt ge logical_and logical_or logical_not logical_xor bitwise_and bitwise_or bitwise_not isnan isinf where
        masked_fill""",
    "activations": """sigmoid relu relu6 leaky_relu elu selu celu gelu silu mish softplus hardtanh hardsigmoid hardswish hardshrink
        softshrink softmax _softmax log_softmax _log_softmax log_sigmoid prelu threshold glu""",
    "over dimensions": """sum mean var std amax amin max min logsumexp prod cumsum argmax argmin any all norm linalg_vector_norm var_mean
        cosine_similarity""",
    "shapes and constants": """cat stack repeat repeat_interleave tile flip roll clone lift_fresh_copy index index_select gather
        take_along_dim tril triu pad constant_pad_nd reflection_pad1d reflection_pad2d replication_pad1d replication_pad2d im2col zeros ones
        full zeros_like ones_like full_like new_zeros new_ones new_full arange eye scalar_tensor one_hot meshgrid sym_size sym_numel""",
    "products": "matmul mm bmm mv dot outer addmm baddbmm addmv einsum bilinear convolution",
    "layers": """native_layer_norm native_group_norm _native_batch_norm_legit_no_training max_pool1d max_pool2d max_pool3d
        max_pool2d_with_indices avg_pool1d avg_pool2d avg_pool3d adaptive_avg_pool1d adaptive_avg_pool2d adaptive_avg_pool3d
        _adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d upsample_nearest2d upsample_bilinear2d pixel_shuffle pixel_unshuffle
        embedding_bag""",
}
"""Operations that are called as they are, by kind."""
PURE = frozenset(name for names in LISTED.values() for name in names.split())
VIEWS = frozenset(LISTED["views"].split()) | {"expand"}
"""Operations whose results may share memory with what they are given."""
SIZES = {
    name: getattr(operator, name) for name in ("add", "sub", "mul", "floordiv", "truediv", "mod", "neg", "eq", "ne", "lt", "le", "gt", "ge")
}
"""Arithmetic of sizes, such as the number of rows times a width."""
NOTHING = ("_assert_tensor_metadata", "_assert_scalar", "sym_constrain_range", "sym_constrain_range_for_size", "_assert_async")
"""What only checks shapes when a graph is run; here they are checked once, before."""
MADE = ("zeros", "ones", "full", "arange", "eye", "scalar_tensor")
"""Operations that make tensors of nothing, which must lie where the rows are."""
MACHINE = ("pin_memory", "layout", "memory_format", "cudnn_enabled", "cudnn_enable", "non_blocking")
"""Arguments about the machine on which a graph was made."""


def _expand(input: Tensor, size: list[int], implicit: bool = False) -> Tensor:
    return input.expand(size)


CALLED: dict[str, Callable[..., Any]] = {
    "linear": F.linear, "layer_norm": F.layer_norm, "group_norm": F.group_norm, "rms_norm": F.rms_norm, "batch_norm": F.batch_norm,
    "instance_norm": F.instance_norm, "expand": _expand, "add": torch.add, "mul": torch.mul, "conv1d": torch.conv1d, "conv2d": torch.conv2d,
    "conv3d": torch.conv3d, "conv_transpose1d": torch.conv_transpose1d, "conv_transpose2d": torch.conv_transpose2d,
    "conv_transpose3d": torch.conv_transpose3d,
}  # fmt: skip
"""Operations that are linear in parameters, as `influence/grads/ops.py` knows them."""


def _embedding(weight: Tensor, indices: Tensor, padding_idx: int = -1, scale_grad_by_freq: bool = False, sparse: bool = False) -> Tensor:
    return F.embedding(indices, weight, None if padding_idx < 0 else padding_idx, scale_grad_by_freq=scale_grad_by_freq)


def _attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    *,
    scale: float | None = None,
    enable_gqa: bool = False,
) -> Tensor:
    """Attention written out: fused kernels lack the derivatives that walks and sweeps take."""
    if enable_gqa:
        key, value = (part.repeat_interleave(query.shape[-3] // part.shape[-3], -3) for part in (key, value))
    seen = query @ key.transpose(-2, -1) * (1 / math.sqrt(query.shape[-1]) if scale is None else scale)
    if is_causal:
        seen = seen.masked_fill(torch.ones(seen.shape[-2:], dtype=torch.bool, device=seen.device).triu(1), -math.inf)
    if attn_mask is not None:
        seen = seen.masked_fill(~attn_mask, -math.inf) if attn_mask.dtype == torch.bool else seen + attn_mask
    return seen.softmax(-1) @ value


OWN: dict[str, Callable[..., Any]] = {
    "embedding": _embedding,
    "scaled_dot_product_attention": _attention,
}


def name_of(target: str) -> str:
    """Return the bare name of an operation: "relu" of "aten.relu.default", "add" of "_operator.add"."""
    return target.split(".")[1] if target.count(".") else ""


@lru_cache(maxsize=1024)
def operation(target: str) -> Callable[..., Any]:
    """Return what computes "aten.NAME.OVERLOAD" or "_operator.NAME", to be called with the arguments by their aten names.

    Raises:
        BadInput: it is not among those that a graph may call.
    """
    space, name, overload, *more = [*target.split("."), "", ""][: max(3, target.count(".") + 1)]
    if space == "_operator" and name in SIZES and not overload:
        return _sizes(SIZES[name])
    packet = getattr(torch.ops.aten, name, None) if space == "aten" and (name in PURE or name in CALLED or name in OWN) else None
    if packet is None or more or overload not in packet.overloads() or "out" in overload.split("_"):
        raise BadInput(
            f"The graph calls {target[:80]!r}, which is not among the operations that a graph from elsewhere may call here: arithmetic, "
            "layers and shapes of PyTorch's own (aten). Bring its weights as .safetensors into an architecture instead."
        )
    if name in OWN:
        return OWN[name]
    return _named(CALLED[name]) if name in CALLED else getattr(packet, overload)


def _named(call: Callable[..., Any]) -> Callable[..., Any]:
    """Return a call by aten's names as one by those of the Python function."""
    return lambda **given: call(**{("input" if name == "self" else name): value for name, value in given.items()})


def _sizes(call: Callable[..., Any]) -> Callable[..., Any]:
    return lambda **given: call(*given.values())


def refuse_training(target: str, given: dict[str, Any]) -> None:
    """See that an operation is one of a model that answers, not of one that learns.

    Raises:
        BadInput: it drops or normalises as in training.
    """
    name = name_of(target)
    learns = given.get("train") or given.get("training") or (given.get("use_input_stats") and given.get("running_mean") is not None)
    learns = learns or bool(given.get("dropout_p"))
    if learns:
        raise BadInput(f"The graph was exported in training mode ({name}). Call model.eval() before torch.export.export.")
    if given.get("scale_grad_by_freq"):
        raise BadInput("The graph scales gradients by how often a token occurs (scale_grad_by_freq). Build the model with it False.")
