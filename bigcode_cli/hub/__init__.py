"""Downloads from the Hugging Face hub, and the cache that other tools share."""
