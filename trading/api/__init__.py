"""The HTTP API: each endpoint parses the request, calls one function and returns its result."""
