"""`bigcode stop`: unloads a model or ends the server."""
