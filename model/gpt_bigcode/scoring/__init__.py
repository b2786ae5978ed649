"""TextScorer: bits per byte and perplexity."""
