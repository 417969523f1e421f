"""`/metrics` for Prometheus: counts of every process of this server, and what the stores say."""
