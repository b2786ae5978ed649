"""`bigcode cache`: what the tool keeps on disk."""
