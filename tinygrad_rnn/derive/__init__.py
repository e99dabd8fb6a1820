"""From one recorded step to a NumPy program for the whole sequence, forward and backward.

Read graph.py, source.py and program.py, in this order. The package is called as its function is:
`tinygrad_rnn.derive` is the function, and ``from tinygrad_rnn.derive.program import Program``
reaches the rest.
"""

from .program import *
