"""The border to git: what is staged, read from the index and the objects, never from the work tree.

Knows nothing of models.
"""
