"""The recipe of `pocket_secrets`: made data, training, export and measures; not installed."""
