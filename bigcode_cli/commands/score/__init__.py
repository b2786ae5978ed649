"""`bigcode score`: bits per byte, gates and heat maps."""
