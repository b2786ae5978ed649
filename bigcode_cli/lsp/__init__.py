"""A language server over standard input and output."""
