"""A stand-in for the Anthropic API: for the first run, for tests and for benchmarks.

A plain ASGI application that imports nothing of the gateway, so it can be believed when it
disagrees with it. `docs/simulator.md` has its marks, flags and books.
"""
