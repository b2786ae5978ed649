"""`bigcode classify`: one label per file."""
