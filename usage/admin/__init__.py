"""The console's pages for the ledger, its roll-up, dead letters and prices.

The first three are to look at: only the drain writes them. A price is written by a service.
"""

from usage.admin import ledger, prices

__all__ = ["ledger", "prices"]
