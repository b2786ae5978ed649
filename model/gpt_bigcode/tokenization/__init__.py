"""tokenizer.json, and incremental encoding."""
