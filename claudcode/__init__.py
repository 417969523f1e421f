"""Wiring: settings, engines, the ASGI application and the commands that start it all."""
