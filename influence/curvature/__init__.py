"""Curvature of the training loss: products with it, a factored approximation of it, and solves."""

from influence.curvature.cg import cg
from influence.curvature.ekfac import EKFAC, fit
from influence.curvature.ggn import Objective, ggn, gradient, kept

__all__ = ["EKFAC", "Objective", "cg", "fit", "ggn", "gradient", "kept"]
