"""tinygrad_rnn: autodiff through time, made visible.

The engine's operations are here by NumPy's names; `tinygrad_rnn.nn` has the recurrent cells and
`unroll`, `tinygrad_rnn.train` the optimisers.
"""

from . import nn as nn
from . import train as train
from .engine import *
from .functions import *

__version__ = "0.1.0"
