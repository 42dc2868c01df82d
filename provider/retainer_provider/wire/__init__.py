"""HTTP: the ASGI gate, the reverse proxy, the JSON API, problems and challenges. No decision about money."""
