"""`bigcode infill`: fill a gap."""
