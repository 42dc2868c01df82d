"""Load on a service over HTTP: servers as processes of their own, requests signed beforehand, wrk."""
