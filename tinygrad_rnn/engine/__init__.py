"""The ground floor: tensors, primitives with their derivative rules, and the reverse traversal.

Read tensor.py, primitives.py and backprop.py, in this order.
"""

from .backprop import *
from .primitives import *
from .scope import *
from .tensor import *
