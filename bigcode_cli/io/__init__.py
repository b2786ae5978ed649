"""One text in, one file out."""
