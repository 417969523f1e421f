"""The console's pages for the ledger, its roll-up, dead letters, prices, and keys with their use.

Those of the ledger are to look at: only the drain writes them. A price is written by a service.
"""

from usage.admin import apikeys, ledger, prices

__all__ = ["apikeys", "ledger", "prices"]
