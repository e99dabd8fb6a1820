"""tinygrad_rnn: autodiff through time, made visible."""

__version__ = "0.1.0"

from .engine import *
