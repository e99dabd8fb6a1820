"""From one recorded step to a program for the whole sequence, forward and backward.

Read record.py, rewrite.py, schedule.py and text.py, in this order: each is one pass, and program.py
runs them. The folder c prints the same schedule a second time. The package is called as its
function is: `tinygrad_rnn.derive` is the function, and
``from tinygrad_rnn.derive.program import Program`` reaches the rest.
"""

from .program import *
