"""Usage in the browser: who may look, what moves now, what was used over time."""
