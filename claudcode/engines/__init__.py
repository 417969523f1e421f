"""Embedded Postgres and Valkey: real servers as child processes, with their data in a state folder.

state.py     the folder: lock, secrets, addresses for other commands
children.py  starting and stopping a child that never outlives us; which user it runs as
postgres.py  finding the binaries, initdb, start, stop
valkey.py    the same for Valkey
pair.py      both together, for as long as a `with` block
command.py   what `manage.py` does before Django: find the engines of a running `up`, or start them
"""
