"""Training from random weights: what is drawn, what is computed, what is summed, what is written.

Here: the loop, the draws, the objective with our extra terms, the average, and the classifiers' own training.
Not here: the networks and the paper's losses (one folder up), pictures of a run (`figures/`), measuring (`measure/`).
"""

from pyramid.training.loop import Run, start, train

__all__ = ["Run", "start", "train"]
