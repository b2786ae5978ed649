"""The decoding loop, sampling, speculative decoding and the prefix cache."""
