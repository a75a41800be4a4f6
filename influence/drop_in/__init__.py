"""Captum's TracIn on Lethe's engine: `from influence.drop_in import TracInCP, TracInCPFast` in place of `captum.influence`.

Constructors and methods are those of `captum.influence.TracInCP` and `TracInCPFast` (version 0.9), for any PyTorch module. Method: Pruthi
et al., arXiv:2002.08484: score = sum over checkpoints of learning rate x <gradient of the test row's loss, gradient of the training row's>.
A row's loss is what the loss function gives for that row alone, whatever it does with several: a sum, a mean, or one number for each.

Numbers are Captum's, except where Captum's are wrong or its call fails:

- `compute_intermediate_quantities`: products of two rows are scores (Captum multiplies by the learning rate, not its root: rate x score).
- `TracInCPFast` includes the last layer's bias, and whatever follows that layer (LogSoftmax, a residual path, another scale); the outputs
  may have any shape, the last layer may be any module with parameters.
- Every parameter counts whatever its layer (LayerNorm, Embedding, attention, groups, padding by name, subclasses, tied weights); Captum's
  `sample_wise_grads_per_batch` drops all but Linear and Conv2d. That flag and `vectorize` are accepted and change nothing.
- `loss_fn` and `test_loss_fn` may have any reduction each. A mean is a row's own: Captum's, times the batch size, except that with class
  weights or ignored labels Captum's depends on which rows share the batch.
- The model is in evaluation mode; afterwards its mode, weights, buffers and `requires_grad` are as before, and nothing is pinned on it.
  Captum leaves dropout on, and the model on the last checkpoint.
- Files may hold {"model_state_dict": ..., "learning_rate": ...}, are loaded to the model's device, and a list of paths keeps its order.
- Each checkpoint is loaded once per call. Inputs may be tuples, dictionaries or lists of tensors. A frozen parameter has no gradient
  (Captum fails), unless `layers` names its layer.
- Refused: a training loader that shuffles or has a sampler of its own, such a loader of inputs if there are several checkpoints (rows
  would be added to other rows), and models in which the rows of a batch depend on each other.
"""

from influence.drop_in.model import load_checkpoint
from influence.drop_in.tracin import KMostInfluentialResults, TracInCP, TracInCPBase, TracInCPFast

__all__ = ["KMostInfluentialResults", "TracInCP", "TracInCPBase", "TracInCPFast", "load_checkpoint"]
