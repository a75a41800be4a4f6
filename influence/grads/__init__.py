"""Gradients of questions and of rows: the only autograd tricks."""

from influence.grads.layers import ghost_applies
from influence.grads.query import logits, outputs, query_gradient
from influence.grads.sweep import sweep

__all__ = ["ghost_applies", "logits", "outputs", "query_gradient", "sweep"]
