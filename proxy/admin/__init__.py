"""The console's pages for upstream accounts.

Thin callers: every write is a service, so that whatever is done here is audited and announced.
"""

from proxy.admin import accounts

__all__ = ["accounts"]
