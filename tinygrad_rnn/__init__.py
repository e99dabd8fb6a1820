"""tinygrad_rnn: autodiff through time, made visible.

The engine's operations are here by NumPy's names; `tinygrad_rnn.nn` has the recurrent cells and
`unroll`, `tinygrad_rnn.train` the optimisers.
"""

from . import nn, train
from .engine import *  # noqa: F403
from .engine import __all__ as _engine_names

__version__ = "0.1.0"
__all__ = ["nn", "train", *_engine_names]
