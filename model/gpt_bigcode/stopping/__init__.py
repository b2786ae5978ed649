"""Where generated text ends."""
