"""What the console does, and how a program does it: each page and action, by API and by command.

`PARITY` has a row for each page and action of `matrix.py` that anybody may use: operations of the
management API by their names, then commands. `show` stands for reading what the API shows. Where
one of the two is missing on purpose, a sentence says why.
"""

PEOPLE = "People are managed by people: a stolen token must not make an account or open one."

# The trail of a row, which every table has.
HISTORY = (("audit_list",), ("show", "audit_export"))

PARITY: dict[str, tuple[tuple[str, ...] | str, tuple[str, ...] | str]] = {
    # --- API keys -------------------------------------------------------------------------------
    "keys.apikey changelist": (("keys_list", "keys_export"), ("show", "apikeys_export")),
    "keys.apikey add": (("keys_create",), ("apikey_issue",)),
    "keys.apikey change": (
        (
            "keys_retrieve",
            "keys_budgets_list",
            "keys_budgets_retrieve",
            "keys_standing_retrieve",
        ),
        ("show",),
    ),
    "keys.apikey save": (
        (
            "keys_partial_update",
            "keys_budgets_create",
            "keys_budgets_update",
            "keys_budgets_destroy",
        ),
        ("apikey_set", "budget_set"),
    ),
    "keys.apikey change_plan": (("keys_change_plan",), ("apikey_plan",)),
    "keys.apikey disable": (("keys_disable",), ("apikey_state",)),
    "keys.apikey enable": (("keys_enable",), ("apikey_state",)),
    "keys.apikey export_csv": (("keys_export",), ("apikeys_export",)),
    "keys.apikey extend": (("keys_extend",), ("apikey_extend",)),
    "keys.apikey purge_cache": (("keys_purge_cache",), ("cache_purge",)),
    "keys.apikey raise_budget": (
        (
            "keys_raise_budget",
            "keys_end_raise",
            "keys_budgets_raise",
            "keys_budgets_end_raise",
            "teams_budgets_raise",
            "teams_budgets_end_raise",
            "plans_budgets_raise",
            "plans_budgets_end_raise",
        ),
        ("budget_raise",),
    ),
    "keys.apikey reset": (
        ("keys_reset_budgets", "keys_budgets_reset", "teams_budgets_reset"),
        ("budget_reset",),
    ),
    "keys.apikey revoke": (("keys_revoke",), ("apikey_state",)),
    "keys.apikey rotate": (("keys_rotate", "keys_end_grace"), ("apikey_rotate",)),
    "keys_apikey_ask": ("It asks before each action; programs do not need to be asked.",) * 2,
    "keys_apikey_import_csv": (("keys_import",), ("apikeys_import",)),
    "keys_apikey_live": (("keys_standing_retrieve",), ("show",)),
    "keys_apikey_purge_everything": (("cache_purge",), ("cache_purge",)),
    # --- Teams and plans ------------------------------------------------------------------------
    "keys.team changelist": (("teams_list",), ("show",)),
    "keys.team add": (("teams_create",), ("team_create",)),
    "keys.team change": (
        (
            "teams_retrieve",
            "teams_members_list",
            "teams_members_retrieve",
            "teams_budgets_list",
            "teams_budgets_retrieve",
        ),
        ("show",),
    ),
    "keys.team save": (
        (
            "teams_partial_update",
            "teams_members_create",
            "teams_members_partial_update",
            "teams_members_destroy",
            "teams_budgets_create",
            "teams_budgets_update",
            "teams_budgets_destroy",
        ),
        ("team_set", "team_member", "budget_set"),
    ),
    "keys.team delete": (("teams_destroy",), ("team_delete",)),
    "keys.team purge_cache": (("teams_purge_cache",), ("cache_purge",)),
    "keys.plan changelist": (("plans_list",), ("show",)),
    "keys.plan add": (("plans_create",), ("plan_create",)),
    "keys.plan change": (
        ("plans_retrieve", "plans_budgets_list", "plans_budgets_retrieve"),
        ("show",),
    ),
    "keys.plan save": (
        (
            "plans_partial_update",
            "plans_budgets_create",
            "plans_budgets_update",
            "plans_budgets_destroy",
        ),
        ("plan_set", "budget_set"),
    ),
    "keys.plan delete": (("plans_destroy",), ("plan_delete",)),
    # --- The catalogue --------------------------------------------------------------------------
    "keys.claudemodel changelist": (("models_list",), ("show",)),
    "keys.claudemodel add": (("models_create",), ("model_set",)),
    "keys.claudemodel change": (("models_retrieve",), ("show",)),
    "keys.claudemodel save": (("models_partial_update",), ("model_set",)),
    "usage.price changelist": (("prices_list",), ("show",)),
    "usage.price add": (("prices_create",), ("price_set",)),
    "usage.price change": (("prices_retrieve",), ("show",)),
    "usage.price save": (("prices_partial_update",), ("price_set",)),
    # --- Upstream accounts ----------------------------------------------------------------------
    "proxy.upstreamaccount changelist": (("upstreams_list",), ("show", "upstream_list")),
    "proxy.upstreamaccount add": (("upstreams_create",), ("upstream_add",)),
    "proxy.upstreamaccount change": (("upstreams_retrieve",), ("show",)),
    "proxy.upstreamaccount save": (("upstreams_partial_update",), ("upstream_set",)),
    "proxy.upstreamaccount delete": (("upstreams_destroy",), ("upstream_delete",)),
    "proxy.upstreamaccount disable": (("upstreams_disable",), ("upstream_set",)),
    "proxy.upstreamaccount enable": (("upstreams_enable",), ("upstream_set",)),
    "proxy.upstreamaccount test": (("upstreams_test",), ("upstream_test",)),
    "proxy.upstreamaccount use_again": (("upstreams_use_again",), ("upstream_test",)),
    "proxy_upstreamaccount_import_models": (
        ("upstreams_import_models",),
        ("upstream_import_models",),
    ),
    # --- Web tools ------------------------------------------------------------------------------
    "webtools.tavilyaccount changelist": (("webtools_tavily_retrieve",), ("show",)),
    "webtools.tavilyaccount change": (("webtools_tavily_retrieve",), ("show",)),
    "webtools.tavilyaccount save": (
        ("webtools_tavily_partial_update", "webtools_tavily_test"),
        ("tavily_set", "tavily_test"),
    ),
    "webtools.creditprice changelist": (("webtools_prices_list",), ("show",)),
    "webtools.creditprice add": (("webtools_prices_create",), ("tavily_set",)),
    "webtools.creditprice change": (("webtools_prices_retrieve",), ("show",)),
    "webtools.creditprice save": (("webtools_prices_partial_update",), ("tavily_set",)),
    "webtools.toolrule changelist": (("webtools_rules_list",), ("show",)),
    "webtools.toolrule add": (("webtools_rules_create",), ("toolrule_set",)),
    "webtools.toolrule change": (("webtools_rules_retrieve",), ("show",)),
    "webtools.toolrule save": (("webtools_rules_partial_update",), ("toolrule_set",)),
    "webtools.toolrule delete": (("webtools_rules_destroy",), ("toolrule_set",)),
    # --- Ledger, usage, audit -------------------------------------------------------------------
    "usage.ledgerentry changelist": (("ledger_list",), ("show", "ledger_export")),
    "usage.ledgerentry change": (("ledger_retrieve",), ("show",)),
    "usage_ledgerentry_export_csv": (("ledger_list",), ("ledger_export",)),
    "usage.hourlyrollup changelist": (("usage_query",), ("show",)),
    "usage.hourlyrollup change": (("usage_query",), ("show",)),
    "usage.deadletter changelist": (("dead_letters_list",), ("show",)),
    "usage.deadletter change": (("dead_letters_retrieve",), ("show",)),
    "keys.auditevent changelist": (("audit_list",), ("show", "audit_export")),
    "keys.auditevent change": (("audit_retrieve",), ("show",)),
    # --- Alerts ---------------------------------------------------------------------------------
    "alerts.alert changelist": (("alerts_list",), ("show", "alert_list")),
    "alerts.alert change": (("alerts_retrieve",), ("show",)),
    "alerts.alerttarget changelist": (("alert_targets_list",), ("show", "alerttarget_list")),
    "alerts.alerttarget add": (("alert_targets_create",), ("alerttarget_add",)),
    "alerts.alerttarget change": (("alert_targets_retrieve",), ("show",)),
    "alerts.alerttarget save": (("alert_targets_partial_update",), ("alerttarget_set",)),
    "alerts.alerttarget delete": (("alert_targets_destroy",), ("alerttarget_set",)),
    "alerts.alerttarget renew_secret": (("alert_targets_renew_secret",), ("alerttarget_set",)),
    "alerts.alerttarget test": (("alert_targets_test",), ("alerttarget_set",)),
    "alerts.alertdelivery changelist": (("alert_deliveries_list",), ("show",)),
    "alerts.alertdelivery change": (("alert_deliveries_retrieve",), ("show",)),
    "alerts.alertdelivery replay": (("alert_deliveries_replay",), ("alertdelivery_replay",)),
    # --- The gateway, tokens, people ------------------------------------------------------------
    "keys.maintenance changelist": (("maintenance_retrieve",), ("show",)),
    "keys.maintenance change": (("maintenance_retrieve",), ("show",)),
    "keys.maintenance save": (("maintenance_update",), ("maintenance",)),
    "keys.operatortoken changelist": (("tokens_list", "token_retrieve"), ("show",)),
    "keys.operatortoken add": (("tokens_create",), ("operatortoken_issue",)),
    "keys.operatortoken change": (("tokens_retrieve",), ("show",)),
    "keys.operatortoken revoke": (("tokens_revoke",), ("operatortoken_revoke",)),
    "auth.user changelist": (PEOPLE, ("operator_list",)),
    "auth.user add": (PEOPLE, ("operator_add",)),
    "auth.user change": (PEOPLE, ("operator_list",)),
    "auth.user save": (PEOPLE, ("operator_set",)),
    "auth_user_reset_password": (PEOPLE, ("operator_rescue",)),
    "auth_user_remove_second_factor": (PEOPLE, ("operator_rescue",)),
}
