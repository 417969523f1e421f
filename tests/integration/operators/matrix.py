"""Who may do what in the console: every page and every action of every role, in one place.

`L` team lead (of the team that everything here belongs to), `V` viewer, `O` operator, `A` admin.
Whoever is not named is refused. A superuser may do what an admin may; who has no role, nothing.
"""

ROLES = {"L": "team lead", "V": "viewer", "O": "operator", "A": "admin"}

# Pages of each table, as Django names them; `save` is the form of `change`, sent.
PAGES = {
    "keys.apikey": {
        "changelist": "LVOA",
        "add": "LOA",
        "change": "LVOA",
        "save": "LOA",
        "history": "LVOA",
        "delete": "",
    },
    "keys.team": {
        "changelist": "VOA",
        "add": "OA",
        "change": "VOA",
        "save": "OA",
        "history": "VOA",
        "delete": "OA",
    },
    "keys.plan": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "A",
    },
    "keys.claudemodel": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "",
    },
    "keys.maintenance": {
        "changelist": "LVOA",  # It is a redirect to the one row, which asks.
        "add": "",
        "change": "VOA",
        "save": "OA",
        "history": "VOA",
        "delete": "",
    },
    "keys.operatortoken": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "",
        "history": "VOA",
        "delete": "",
    },
    "keys.auditevent": {
        "changelist": "VOA",
        "add": "",
        "change": "VOA",
        "save": "",
        "history": "VOA",
        "delete": "",
    },
    "usage.ledgerentry": {
        "changelist": "LVOA",
        "add": "",
        "change": "LVOA",
        "save": "",
        "history": "LVOA",
        "delete": "",
    },
    "usage.hourlyrollup": {
        "changelist": "LVOA",
        "add": "",
        "change": "LVOA",
        "save": "",
        "history": "LVOA",
        "delete": "",
    },
    "usage.deadletter": {
        "changelist": "VOA",
        "add": "",
        "change": "VOA",
        "save": "",
        "history": "VOA",
        "delete": "",
    },
    "usage.price": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "",
    },
    "proxy.upstreamaccount": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "A",
    },
    "webtools.tavilyaccount": {
        "changelist": "VOA",
        "add": "",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "",
    },
    "webtools.creditprice": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "",
    },
    "webtools.toolrule": {
        "changelist": "VOA",
        "add": "OA",
        "change": "VOA",
        "save": "OA",
        "history": "VOA",
        "delete": "OA",
    },
    "alerts.alert": {
        "changelist": "VOA",
        "add": "",
        "change": "VOA",
        "save": "",
        "history": "VOA",
        "delete": "",
    },
    "alerts.alerttarget": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "A",
    },
    "alerts.alertdelivery": {
        "changelist": "VOA",
        "add": "",
        "change": "VOA",
        "save": "",
        "history": "VOA",
        "delete": "",
    },
    "auth.user": {
        "changelist": "VOA",
        "add": "A",
        "change": "VOA",
        "save": "A",
        "history": "VOA",
        "delete": "",
    },
}

# Pages of an action, by name; `{pk}` is the row of the table.
OWN_PAGES = {
    "keys_apikey_purge_everything": "OA",
    "keys_apikey_import_csv": "LOA",
    "keys_apikey_ask": "LOA",
    "keys_apikey_live": "LVOA",
    "usage_ledgerentry_export_csv": "LVOA",
    "proxy_upstreamaccount_import_models": "A",
    "auth_user_reset_password": "A",
    "auth_user_remove_second_factor": "A",
}

# Actions on rows that were selected in a list.
ACTIONS = {
    "alerts.alerttarget": {"renew_secret": "A", "test": "A"},
    "alerts.alertdelivery": {"replay": "OA"},
    "keys.apikey": {
        "change_plan": "LOA",
        "disable": "LOA",
        "enable": "LOA",
        "export_csv": "LVOA",
        "extend": "LOA",
        "purge_cache": "LOA",
        "raise_budget": "LOA",
        "rotate": "LOA",
        "reset": "LOA",
        "revoke": "LOA",
    },
    "keys.team": {"purge_cache": "OA"},
    "keys.operatortoken": {"revoke": "A"},
    "proxy.upstreamaccount": {"disable": "OA", "enable": "OA", "test": "OA", "use_again": "OA"},
}
