"""The first floor: cells as equations, and `unroll`, which runs them over time."""

from .cells import ElmanCell, GRUCell, JordanCell, LSTMCell, PeepholeLSTMCell
from .initialisers import parameter, uniform
from .layers import Embedding, Linear
from .losses import cross_entropy
from .module import Module
from .unroll import unroll

__all__ = [
    "ElmanCell", "Embedding", "GRUCell", "JordanCell", "LSTMCell", "Linear", "Module",
    "PeepholeLSTMCell", "cross_entropy", "parameter", "uniform", "unroll",
]  # fmt: skip
