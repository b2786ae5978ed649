"""Names of models, their folders, and loading."""
