"""A schedule as C: fuse.py finds the loops, text.py prints them, compile.py runs them.

What the text calls is in helpers.c.
"""
