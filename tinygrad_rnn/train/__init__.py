"""The second floor: optimisers, clipping, data and checkpoints."""

from .clip import clip_grad_norm
from .optimisers import SGD, Adam

__all__ = ["SGD", "Adam", "clip_grad_norm"]
