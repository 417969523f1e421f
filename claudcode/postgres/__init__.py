"""Django's Postgres engine, for servers that fail over: see `base`."""
