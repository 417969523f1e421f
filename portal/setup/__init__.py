"""`/setup.sh` and `/setup.ps1`: scripts that set a developer's machine up in one line.

What runs there, and never here, is in `client/`: the two scripts with slots, the project they write
(one set of files for both), and the programs that merge Claude Code's settings.
"""
