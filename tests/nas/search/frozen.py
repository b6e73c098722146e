"""Imported last by a process from which others are forked: their collector leaves alone what it has imported.

A collection would touch, and so copy, every page of it.
"""

import gc

gc.collect()
gc.freeze()
