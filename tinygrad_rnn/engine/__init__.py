"""The ground floor: tensors, primitives with their derivative rules, and the reverse traversal.

Read tensor.py, primitives.py and backprop.py, in this order.
"""

from .anomaly import detect_anomaly
from .backprop import backward, grad
from .functions import (
    concatenate, einsum, elu, flip, gelu, leaky_relu, log_softmax, logsumexp, max, mean, min,
    norm, outer, pad, reshape, roll, softmax, softplus, split, stack, std, sum, swapaxes,
    take_along_axis, transpose, var,
)  # fmt: skip
from .influence import influence
from .primitives import (
    abs, add, astype, broadcast_to, clip, cos, divide, equal, exp, getitem, greater,
    greater_equal, less, less_equal, log, matmul, maximum, minimum, multiply, negative,
    not_equal, power, relu, sigmoid, sign, sin, sqrt, subtract, tanh, where,
)  # fmt: skip
from .scope import Scope, no_grad, scope, step
from .tensor import Array, Primitive, Tensor, operations, primitive
from .trace import Event, Trace, backprop
from .transforms import hessian, hvp, jacobian, jvp, vjp

__all__ = [
    "Array", "Event", "Primitive", "Scope", "Tensor", "Trace", "abs", "add", "astype",
    "backprop", "backward", "broadcast_to", "clip", "concatenate", "cos", "detect_anomaly",
    "divide", "einsum", "elu", "equal", "exp", "flip", "gelu", "getitem", "grad", "greater",
    "greater_equal", "hessian", "hvp", "influence", "jacobian", "jvp", "leaky_relu", "less",
    "less_equal", "log", "log_softmax", "logsumexp", "matmul", "max", "maximum", "mean", "min",
    "minimum", "multiply", "negative", "no_grad", "norm", "not_equal", "operations", "outer",
    "pad", "power", "primitive", "relu", "reshape", "roll", "scope", "sigmoid", "sign", "sin",
    "softmax", "softplus", "split", "sqrt", "stack", "std", "step", "subtract", "sum",
    "swapaxes", "take_along_axis", "tanh", "transpose", "var", "vjp", "where",
]  # fmt: skip
