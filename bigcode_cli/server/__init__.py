"""The warm path: a server that keeps models in memory, and the client side that uses it."""
