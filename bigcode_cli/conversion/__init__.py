"""Other checkpoint formats to safetensors, in a sandbox."""
