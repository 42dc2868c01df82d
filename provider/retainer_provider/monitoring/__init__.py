"""What operators watch: numbers for Prometheus, liveness and readiness."""
