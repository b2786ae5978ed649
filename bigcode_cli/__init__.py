"""The `bigcode` command: reads arguments, calls the library `gpt_bigcode`, prints."""

__version__ = "0.1.0"
