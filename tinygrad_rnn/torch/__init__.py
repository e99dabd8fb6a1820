"""At the edge: a PyTorch model mirrored into a record. Nothing else of ours imports PyTorch."""

try:
    import torch as _torch  # noqa: F401
except ImportError as error:
    raise ImportError(
        "tinygrad_rnn.torch looks into PyTorch models, and PyTorch is not installed: "
        "pip install torch"
    ) from error

from .operations import TABLE as TABLE
from .record import Mirror as Mirror
from .record import mirror as mirror

__all__ = ["Mirror", "TABLE", "mirror"]
