"""`bigcode complete`: continue a text."""
