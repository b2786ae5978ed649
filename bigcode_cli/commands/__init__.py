"""The commands, one file each: signature, help and a few lines."""
