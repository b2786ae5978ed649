"""Safetensors in and out; conversion of other layouts."""
