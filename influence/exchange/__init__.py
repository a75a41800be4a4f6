"""Models in and out: weights that others saved, and trainings that others ran, recorded so that Lethe can follow them."""
