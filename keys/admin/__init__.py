"""The console's pages for teams, plans, keys, budgets, models, maintenance and the audit trail.

Thin callers: every write is a service, so that whatever is done here is audited and announced.
"""

from keys.admin import apikeys, audit, catalogue, operator_tokens, plans, teams

__all__ = ["apikeys", "audit", "catalogue", "operator_tokens", "plans", "teams"]
