"""The client side of the server: imports nothing heavy."""
