"""Files that the library keeps for the next call."""
