"""From one recorded step to a NumPy program for the whole sequence, forward and backward.

Read record.py, rewrite.py, schedule.py and text.py, in this order: each is one pass, and program.py
runs them. The package is called as its function is:
`tinygrad_rnn.derive` is the function, and ``from tinygrad_rnn.derive.program import Program``
reaches the rest.
"""

from .program import *
