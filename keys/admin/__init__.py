"""The console's pages for teams, keys, budgets, models, maintenance and the audit trail.

Thin callers: every write is a service, so that whatever is done here is audited and announced.
"""

from keys.admin import apikeys, audit, catalogue, teams

__all__ = ["apikeys", "audit", "catalogue", "teams"]
