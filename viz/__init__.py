"""Pictures of recorded computations and of the gradients that run back through them."""

from .draw import draw
from .matrix import contributions, influence
from .picture import Picture
from .render import check

__all__ = ["Picture", "check", "contributions", "draw", "influence"]
