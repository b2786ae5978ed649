"""TextClassifier and TextTagger."""
