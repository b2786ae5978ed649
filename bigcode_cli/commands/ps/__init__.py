"""`bigcode ps`: what the server of this user has loaded."""
