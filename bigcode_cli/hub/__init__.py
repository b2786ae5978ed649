"""Checkpoints of a hub: what is in the shared cache, and how they get there.

Knows nothing of the command line.
"""
