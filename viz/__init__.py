"""Pictures of recorded computations and of the gradients that run back through them."""

from .draw import draw
from .matrix import contributions, influence
from .picture import Picture
from .player import player
from .plots import convergence, error_surface, gradient_flow, histogram, surface

__all__ = [
    "Picture", "contributions", "convergence", "draw", "error_surface", "gradient_flow",
    "histogram", "influence", "player", "surface",
]  # fmt: skip
