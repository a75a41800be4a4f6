"""Newton's method on the last layer, over features that stay as they are, with a bound on what is left undone.

Guo, Goldstein, Hannun and van der Maaten, Certified Data Removal from Machine Learning Models, ICML 2020, arXiv:1911.03030, sections 3 and
3.2 (a linear model over another model's features). They remove rows from the optimum of a convex loss; training ends elsewhere, and going
to that optimum would move the layer even if nothing were removed. So what is minimised is the loss of the retained rows, bent so that its
slope at the model's weights is that of the removed rows alone (`Without`). It is as strongly convex as its ridge: the weight decay, and the
damping that stands for the time of training (`damping.from_recipe`; 0.01 where no recipe by SGD tells it). Without damping the layer
answers to the rows as if training had gone on for ever: of a logistic regression on digits it ended ten times as far from retraining. With
h the features of a row (1 for the bias among them) and w* the minimum,

    |w - w*| <= |gradient(w)| / ridge,    |z(h; w) - z(h; w*)| <= |h| |gradient(w)| / ridge

hold at every w; their theorem 1 bounds the gradient in advance, here it is computed. No noise hides what is left, and the features have
seen the rows: the claim is L1.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import torch

from influence.errors import BadInput
from influence.grads.chosen import owners
from influence.grads.hidden import ends_linear
from influence.loop import Bound
from influence.registry import option, unlearning
from influence.types import Examples, Report, Trained, ignore
from influence.unlearning._descent import Request
from influence.unlearning._last_layer import LastLayer, placed, weights
from influence.unlearning._response import by_id
from influence.unlearning._stride import Holds, Stride
from influence.workspace import Workspace


@unlearning
@dataclass(frozen=True)
class NewtonHead(Stride):
    """Moves the last layer, by Newton's method, to where it would have settled without the rows; the layers before stay as they are.

    It says how far the last layer can be from the exact answer, at most; of the layers before, which have seen the rows, it says nothing.
    What they make of the rows is computed once per model, so that no request passes through them.
    """

    turns: int = option(20, "Newton steps at most; it ends sooner when hardly any gradient is left", min=1, max=1000, advanced=True)

    reservation: ClassVar[str] = (
        "Earlier layers keep what they learnt: of rows that mattered it leaves 52 to 64 % of the way to retraining undone on digits."
    )
    cost: ClassVar[str] = (
        "Up to half a training where the model is small, up to a whole one where the last layer is large; less the deeper the model."
    )
    needs: ClassVar[str] = "A model that ends in a Linear layer, and all rows that it was trained on."

    def unavailable(self, trained: Trained) -> str:
        """Return why the model has no last layer to move, or nothing."""
        module = Bound(trained.model).module
        if ends_linear(module) and all(p.requires_grad for p in owners(module)[-1][1].parameters()):
            return ""
        return "This method moves a last Linear layer; this model does not end in one that can be moved. Choose influence_step."

    def prepare(self, trained: Trained, train: Examples, workspace: Workspace, report: Report = ignore) -> None:
        """Make what serves every request: the features of all rows and their second moment."""
        LastLayer.at(trained, by_id(train), workspace, report)

    def goal(self, asked: Request, bound: Bound, holds: Holds, workspace: Workspace) -> torch.Tensor:
        """Return the weights with the last layer where it would have settled, (P,).

        Raises:
            BadInput: something follows the last layer, or the step is not finite.
        """
        layer = LastLayer.at(asked.trained, asked.train, workspace)
        moved = layer.moved(layer.without(asked.forget), self.turns)
        if not moved.isfinite().all():
            raise BadInput("The step is not finite: the model's outputs on these rows are not. Choose retrain.")
        return placed(bound, moved)

    def told(self, asked: Request, bound: Bound, workspace: Workspace) -> str:
        """Say how far the last layer, as it is now, can be from the exact answer, at most."""
        layer = LastLayer.at(asked.trained, asked.train, workspace)
        goal = layer.without(asked.forget)
        far = layer.far(goal, weights(bound).flatten())
        return (
            f"The last layer is at most {far:.2g} from its exact answer, of length {float(goal.start.norm()):.2g}, so that no output on a "
            f"training row is off by more than {far * float(layer.of.rows.x.norm(dim=1).max()):.2g}. The layers before saw the rows."
        )
