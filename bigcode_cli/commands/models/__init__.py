"""`bigcode models`: the local cache and the hub."""
