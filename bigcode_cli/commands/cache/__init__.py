"""`bigcode cache`: caches on disk."""
