"""int8 and int4 linear layers, their loader and their disk cache."""
