"""The error of a server that cannot answer; apart from what imports HTTP."""


class ServerUnusableError(Exception):
    """The server cannot answer this; the message says why."""
