"""`bigcode bench`: measure this machine."""
