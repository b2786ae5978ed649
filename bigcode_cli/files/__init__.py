"""Many texts: walking folders, staged files, cached results, verdicts."""
