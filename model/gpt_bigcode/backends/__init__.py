"""The NumPy and PyTorch engines, and which one is used."""
