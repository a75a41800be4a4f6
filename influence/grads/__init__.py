"""Gradients of questions and of rows: the only autograd tricks."""

from influence.grads.chosen import chosen, mask, owners
from influence.grads.matrix import gram, products, self_influence
from influence.grads.query import by_logits, logits, outputs, query_gradient
from influence.grads.rows import Rows, row_gradients
from influence.grads.sweep import sweep

__all__ = [
    "Rows", "by_logits", "chosen", "gram", "logits", "mask", "outputs", "owners", "products", "query_gradient", "row_gradients",
    "self_influence", "sweep",
]  # fmt: skip
