"""The second floor: optimisers, clipping, data."""

from .clip import *
from .data import *
from .optimisers import *
