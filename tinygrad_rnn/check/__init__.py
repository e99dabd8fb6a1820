"""Gradient checks that name the culprit: which rule is wrong, for which input, at which step."""

from .gradcheck import *
from .handwritten import *
from .report import GradientError as GradientError
from .report import Report as Report
from .taylor import *
