"""The HTTP API: a door like the others. It parses, calls one service, and returns."""
