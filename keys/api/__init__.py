"""The management API: what all of it shares, and the part of keys, teams, models and audit.

`usage.api` and `proxy.api` hold theirs; `claudcode.api` alone knows the addresses.
"""
