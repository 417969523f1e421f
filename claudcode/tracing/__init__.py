"""OpenTelemetry traces of what the gateway does. Imported only where they are asked for.

`exporting` gets spans out of the process, `sampling` says which calls are recorded, `spans` turns
what the data plane tells (`proxy.trace`) into spans, `wiring` brings them together.
"""
