"""Who may call, as the control plane stores it: teams, keys, budgets, models, the audit trail.

Writes go through `keys.services`; `keys.policy` alone turns these rows into what the gateway obeys.

Every limit field reads the same: empty is unlimited, 0 is nothing, n is n.
"""

# Django finds the models of an app here.
from keys.api.models import IdempotentAnswer as IdempotentAnswer
from keys.api.models import OperatorToken as OperatorToken
from keys.models.apikeys import ApiKey
from keys.models.audit import AuditEvent
from keys.models.budgets import Budget, InheritedWindow
from keys.models.catalogue import ClaudeModel, Maintenance
from keys.models.fields import (
    CACHE_TTL_S_DEFAULT,
    CACHE_TTL_S_MAX,
    CONCURRENCY_DEFAULT,
    RATE_MAX,
    RPM_DEFAULT,
    WAIT_S_MAX,
    model_id_validator,
    model_pattern_validator,
    validate_cidr,
)
from keys.models.plans import Plan
from keys.models.teams import Membership, Team

__all__ = [
    "CACHE_TTL_S_DEFAULT",
    "CACHE_TTL_S_MAX",
    "CONCURRENCY_DEFAULT",
    "RATE_MAX",
    "RPM_DEFAULT",
    "WAIT_S_MAX",
    "ApiKey",
    "AuditEvent",
    "Budget",
    "ClaudeModel",
    "InheritedWindow",
    "Maintenance",
    "Membership",
    "Plan",
    "Team",
    "model_id_validator",
    "model_pattern_validator",
    "validate_cidr",
]
