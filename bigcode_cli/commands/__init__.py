"""The commands, one file each: signature, help and a few lines.

Knows nothing of how a command is found or how its errors are shown.
"""
