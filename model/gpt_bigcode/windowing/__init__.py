"""Texts of any length through a model with a short context: cut, computed in batches, joined."""
