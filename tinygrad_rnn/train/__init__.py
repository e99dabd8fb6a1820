"""The second floor: optimisers, clipping, truncated BPTT, checkpoints, batches."""

from .batches import *
from .checkpoints import *
from .clip import *
from .files import *
from .optimisers import *
from .schedules import *
from .sweep import *
from .truncated import *
