"""TextModel: complete and infill text."""
