"""Backup and restore: what an installation is, in one file, and back.

A backup has everything that was admitted before its instant. Money moves one way, from a lease to
an event to the ledger, so the three are read in that order: what moves meanwhile is read twice,
never missed, and `restore` counts an exchange once by its id.

    1  the instant: Valkey's clock
    2  open leases      each shard at one moment
    3  events           all of its stream, what the ledger has already included
    4  Postgres         one snapshot, by pg_dump

What happened after the instant may be there, or not.
"""
