"""What is built from the engine alone: operations composed of primitives, derivatives of functions.

Also here are the observers of a traversal: its trace, which loss reaches which step, the first NaN.
"""

from .anomaly import *
from .composed import *
from .elementwise import *
from .influence import *
from .reductions import *
from .shapes import *
from .trace import *
from .transforms import *
