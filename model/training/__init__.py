"""The recipe that makes the built-in model: corpus, tokenizer, training, export, evaluation.

Not installed: run its commands with `PYTHONPATH=model python -m training.<command>`.
"""
