"""tinygrad_rnn: autodiff through time, made visible.

The engine's operations are here by NumPy's names; `tinygrad_rnn.nn` has the recurrent cells and
`unroll`, `tinygrad_rnn.train` the optimisers.
"""

from types import ModuleType as _ModuleType

from . import check as check
from . import nn as nn
from . import train as train

# The function takes the package's place under this name, deliberately: `tr.derive(cell)`. Imports
# such as `from tinygrad_rnn.derive.program import Program` still find the package.
from .derive import DeriveError as DeriveError
from .derive import Program as Program
from .derive import derive as derive
from .engine import *
from .functions import *

__version__ = "0.1.0"

# The files of the floors are no part of the public face: tr.engine.tensor, but no tr.tensor.
for _name, _value in list(globals().items()):
    if isinstance(_value, _ModuleType) and _value.__name__.count(".") > 1:
        del globals()[_name]
