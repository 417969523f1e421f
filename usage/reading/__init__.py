"""What was used, for dashboards: queries over the roll-ups, never over the ledger. Knows no HTTP.

Every function takes a `Scope`, which says whose use may be seen, and returns frozen values. Import
from the modules: `scope`, `question`, `series`, `totals`, `percentiles`, `sessions`, `forecast`.
"""
