"""The second floor: optimisers, clipping, truncated BPTT, checkpoints, data."""

from .checkpoints import *
from .clip import *
from .data import *
from .files import *
from .optimisers import *
from .schedules import *
from .sweep import *
from .truncated import *
