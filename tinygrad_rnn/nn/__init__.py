"""The first floor: cells as equations, and `unroll`, which runs them over time."""

from .cells import *
from .initialisers import *
from .interchange import *
from .layers import *
from .losses import *
from .module import *
from .names import *
from .recurrent import *
from .scan import *
from .unroll import *
