"""Speed measurements, and random weights to measure with."""
