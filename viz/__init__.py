"""Pictures of recorded computations and of the gradients that run back through them."""

from .draw import draw
from .film import film
from .matrix import contributions, influence
from .page import Player
from .picture import Picture
from .player import player
from .plots import error_surface, gradient_flow, histogram, surface

__all__ = [
    "Picture", "Player", "contributions", "draw", "error_surface", "film",
    "gradient_flow", "histogram", "influence", "player", "surface",
]  # fmt: skip
