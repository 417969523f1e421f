#!/usr/bin/env python
"""Run a management command, with the embedded Postgres and Valkey if it needs them."""

import sys

from claudcode.engines import command

if __name__ == "__main__":
    sys.exit(command.run(sys.argv))
