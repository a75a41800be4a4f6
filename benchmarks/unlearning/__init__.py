"""How well does each unlearning method forget, and at what cost? Every registered method, on several data sets and kinds of forget sets."""
