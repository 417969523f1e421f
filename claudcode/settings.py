"""Django settings: every value that can differ between two installations comes through `env`.

Knows nothing of the embedded engines: `manage.py` exports their addresses before this is read.
Each value that can be wrong has a check in `checks.py`, each setting a row in `docs/settings.md`.
"""

from datetime import timedelta

from django.templatetags.static import static

from claudcode import browser, env, logging, mail, stores

BASE_DIR = env.ROOT

# --- Stores -------------------------------------------------------------------------------------

DATABASE_URL = env.secret(
    "DATABASE_URL",
    "Postgres 14 or later, `postgresql://user:password@host/name`, with servers that fail over"
    " `postgresql://user:password@h1,h2/name?target_session_attrs=read-write`."
    " Unset: the embedded one.",
)
VALKEY_URL = env.secret(
    "VALKEY_URL",
    "Valkey 8 or Redis 7 or later: `redis://host:6379/0`, `unix:///path?db=0`,"
    " `redis+cluster://user:password@h1:6379,h2:6379` or"
    " `redis+sentinel://:password@h1:26379,h2/SERVICE?db=0`; with `rediss` encrypted."
    " Unset: the embedded one.",
)
BROKER_URL = env.secret(
    "CLAUDCODE_BROKER_URL",
    "Celery's queue, in the words of `VALKEY_URL` or any that Celery knows (`amqp://…`). Unset: in"
    " Valkey.",
)
DATABASE_CONNECTIONS_MAX = env.integer(
    "CLAUDCODE_DATABASE_CONNECTIONS_MAX", 10, "Postgres connections of one process."
)
DATABASE_DIRECT_URL = env.database_direct_url()
REPLICA_URL = env.secret(
    "CLAUDCODE_REPLICA_URL",
    "A streaming replica of Postgres, for usage and the console's charts to be read from. Unset:"
    " they are read from `DATABASE_URL`.",
)
REPLICA_LAG_S_MAX = env.integer(
    "CLAUDCODE_REPLICA_LAG_S_MAX",
    30,
    "A replica whose figures may be older than this is not read until it has caught up.",
)
STATE = env.state_folder()
POSTGRES_BIN = env.postgres_bin()
VALKEY_MEMORY_BYTES_MAX = env.valkey_memory_bytes_max()

# --- Site ---------------------------------------------------------------------------------------

SECRET_KEY = env.secret(
    "CLAUDCODE_SECRET_KEY",
    "Signs sessions; 50 random characters. Made for you in the state folder when Postgres"
    " or Valkey is embedded.",
)
SECRET_KEY_FALLBACKS = env.csv(
    "CLAUDCODE_SECRET_KEY_FALLBACKS",
    "",
    "Earlier secret keys, by commas: what they signed is still good. Take them away after"
    " `CLAUDCODE_SESSION_AGE_S_MAX`.",
)
DEBUG = env.boolean("CLAUDCODE_DEBUG", False, "Show tracebacks in the browser. Never in public.")
ALLOWED_HOSTS = env.csv(
    "CLAUDCODE_ALLOWED_HOSTS",
    "localhost,127.0.0.1,[::1]",
    "Host names under which the site answers, by commas. `/v1` answers under every name.",
)
CSRF_TRUSTED_ORIGINS = env.csv(
    "CLAUDCODE_CSRF_TRUSTED_ORIGINS",
    "",
    "Origins whose forms are believed, such as `https://claude.example.com`, by commas.",
)
PUBLIC_URL = env.text(
    "CLAUDCODE_PUBLIC_URL",
    "",
    "The address users type, such as `https://claude.example.com`. Unset: the request's own.",
)
TRUSTED_PROXIES = env.csv(
    "CLAUDCODE_TRUSTED_PROXIES",
    "",
    "CIDRs of reverse proxies whose `X-Forwarded-For` is believed, by commas.",
)
METRICS_TOKENS = env.csv(
    "CLAUDCODE_METRICS_TOKEN",
    "",
    "Opens `/metrics` as `Authorization: Bearer`; 20 characters or more. Several by commas: each"
    " opens. Without one and without networks there is no `/metrics`.",
)
METRICS_NETWORKS = env.csv(
    "CLAUDCODE_METRICS_NETWORKS", "", "CIDRs that may read `/metrics` without a token, by commas."
)
METRICS_FOLDER = env.text(
    "CLAUDCODE_METRICS_FOLDER",
    "",
    "Set by the server for its processes: where they leave each other their counts.",
)
CLIENT_ADDRESSES = env.text(
    "CLAUDCODE_CLIENT_ADDRESSES",
    "full",
    "What is stored of clients' addresses: `full`, `truncated` (/24 of IPv4, /48 of IPv6) or"
    " `none`. Rules about addresses go by the whole one.",
).lower()
TRACES_ENDPOINT = env.text(
    "CLAUDCODE_TRACES_ENDPOINT",
    "",
    "Where traces are sent, OTLP over HTTP: `http://collector:4318`. Unset: none are made.",
)
TRACES_RATIO = env.decimal(
    "CLAUDCODE_TRACES_RATIO", 1.0, "Share of the calls that is recorded, 0 to 1."
)
TRACES_TRUST_CALLERS = env.boolean(
    "CLAUDCODE_TRACES_TRUST_CALLERS",
    False,
    "Record what a caller's `traceparent` says it records, whatever the share.",
)
TRACES_UPSTREAM = env.boolean(
    "CLAUDCODE_TRACES_UPSTREAM", False, "Tell upstream accounts the ids of the trace."
)
LOG_LEVEL = env.text(
    "CLAUDCODE_LOG_LEVEL", "INFO", "`DEBUG`, `INFO`, `WARNING` or `ERROR`; logs are JSON lines."
).upper()
SUPERVISED = env.boolean(
    "CLAUDCODE_SUPERVISED", False, "Set by `manage.py up` for its processes: end when it ends."
)

# --- Signing in ---------------------------------------------------------------------------------

REQUIRE_2FA = env.boolean(
    "CLAUDCODE_REQUIRE_2FA", False, "Nobody enters the console without a second factor."
)
PASSWORD_SIGN_IN = env.boolean(
    "CLAUDCODE_PASSWORD_SIGN_IN", True, "Off: single sign-on alone opens console and usage."
)
SESSION_IDLE_S = env.integer(
    "CLAUDCODE_SESSION_IDLE_S", 3600, "After this long without a page, operators sign in again."
)
SESSION_AGE_S_MAX = env.integer(
    "CLAUDCODE_SESSION_AGE_S_MAX", 43_200, "After this long they sign in again in any case."
)
SIGN_IN_FAILURES_MAX = env.integer(
    "CLAUDCODE_SIGN_IN_FAILURES_MAX", 10, "Failed sign-ins after which an address has to wait."
)
SIGN_IN_LOCK_S = env.integer("CLAUDCODE_SIGN_IN_LOCK_S", 900, "How long it has to wait then.")
OIDC_ISSUER = env.text(
    "CLAUDCODE_OIDC_ISSUER",
    "",
    "Issuer of the OpenID provider that operators may sign in with. Unset: passwords alone.",
)
OIDC_CLIENT_ID = env.text("CLAUDCODE_OIDC_CLIENT_ID", "", "What the provider calls us.")
OIDC_CLIENT_SECRET = env.secret("CLAUDCODE_OIDC_CLIENT_SECRET", "By what it knows us.")
OIDC_NAME = env.text("CLAUDCODE_OIDC_NAME", "single sign-on", "What the button is called.")
OIDC_SCOPES = env.csv(
    "CLAUDCODE_OIDC_SCOPES", "openid,email,profile", "What the provider is asked for, by commas."
)
OIDC_DOMAINS = env.csv(
    "CLAUDCODE_OIDC_DOMAINS", "", "Domains of verified e-mail addresses, by commas. Unset: any."
)
OIDC_GROUPS_CLAIM = env.text(
    "CLAUDCODE_OIDC_GROUPS_CLAIM", "groups", "Claim of the ID token that holds groups."
)
OIDC_ROLES = env.csv(
    "CLAUDCODE_OIDC_ROLES",
    "",
    "Roles by group, `staff=viewer,sre=admin`, set at every such sign-in; without one it is"
    " refused. Unset: roles are given in the console.",
)
OIDC_CREATE = env.boolean(
    "CLAUDCODE_OIDC_CREATE", False, "Make accounts at the first sign-in of who has a role."
)
OIDC_SECOND_FACTOR = env.csv(
    "CLAUDCODE_OIDC_SECOND_FACTOR",
    "",
    "Values of `amr` or `acr`, such as `mfa`, that stand for our own second factor. Unset: none.",
)
HSTS_S = env.integer(
    "CLAUDCODE_HSTS_S",
    31_536_000,
    "How long browsers insist on https once they came by it, if the public address is https.",
)

# --- Upstream -----------------------------------------------------------------------------------

ANTHROPIC_API_KEY = env.secret("ANTHROPIC_API_KEY", "Upstream credential, sent as `x-api-key`.")
ANTHROPIC_AUTH_TOKEN = env.secret(
    "ANTHROPIC_AUTH_TOKEN", "Upstream credential, sent as `Authorization: Bearer`."
)
ANTHROPIC_BASE_URL = env.text(
    "ANTHROPIC_BASE_URL", "https://api.anthropic.com", "Where exchanges are relayed to."
)
CREDENTIAL_KEYS = env.csv(
    "CLAUDCODE_CREDENTIAL_KEYS",
    "",
    "Keys that seal upstream credentials in Postgres, by commas: the first seals, every one opens."
    " Made for you in the state folder when Postgres or Valkey is embedded.",
)
UPSTREAM_SIMULATED = env.boolean(
    "CLAUDCODE_UPSTREAM_SIMULATED",
    False,
    "Set by `manage.py up` when the simulator answers for want of an account.",
)
UPSTREAM_CONNECT_SECONDS_MAX = env.decimal(
    "CLAUDCODE_UPSTREAM_CONNECT_SECONDS_MAX", 5.0, "Longest wait for a connection upstream."
)
UPSTREAM_READ_SECONDS_MAX = env.decimal(
    "CLAUDCODE_UPSTREAM_READ_SECONDS_MAX", 600.0, "Longest silence of upstream in an exchange."
)
UPSTREAM_CONNECTIONS_MAX = env.integer(
    "CLAUDCODE_UPSTREAM_CONNECTIONS_MAX", 2000, "Open connections upstream of one process."
)
UPSTREAM_ATTEMPTS_MAX = env.integer(
    "CLAUDCODE_UPSTREAM_ATTEMPTS_MAX",
    3,
    "How often an exchange is sent at most, to one account after another; 1: never again.",
)
UPSTREAM_RETRY_SECONDS_MAX = env.decimal(
    "CLAUDCODE_UPSTREAM_RETRY_SECONDS_MAX", 20.0, "After this long no further account is tried."
)

# --- Web tools ----------------------------------------------------------------------------------

TAVILY_API_KEY = env.secret(
    "TAVILY_API_KEY", "Credential for web tools, used while the console has none."
)
TAVILY_BASE_URL = env.text(
    "TAVILY_BASE_URL", "https://api.tavily.com", "Where web tools are asked for."
)
TAVILY_STAND_IN_URL = env.text(
    "CLAUDCODE_TAVILY_STAND_IN_URL",
    "",
    "Set by `manage.py up` when the simulator answers for want of a credential for Tavily.",
)
TAVILY_SECONDS_MAX = env.decimal(
    "CLAUDCODE_TAVILY_SECONDS_MAX", 160.0, "Longest wait for an answer of Tavily's."
)
TAVILY_CONNECTIONS_MAX = env.integer(
    "CLAUDCODE_TAVILY_CONNECTIONS_MAX", 64, "Calls to Tavily at once of one process."
)
TOOL_RESULT_CHARS_MAX = env.integer(
    "CLAUDCODE_TOOL_RESULT_CHARS_MAX",
    100_000,
    "Characters of one result of a web tool over MCP; the rest is left off.",
)
WEB_TOOLS_ROUNDS_MAX = env.integer(
    "CLAUDCODE_WEB_TOOLS_ROUNDS_MAX",
    6,
    "Times that Claude is asked for one answer with web tools; the last time without them.",
)
WEB_TOOLS_CALLS_MAX = env.integer(
    "CLAUDCODE_WEB_TOOLS_CALLS_MAX", 8, "Calls of web tools that one such round may make."
)
WEB_TOOLS_SECONDS_MAX = env.decimal(
    "CLAUDCODE_WEB_TOOLS_SECONDS_MAX",
    300.0,
    "After so long no more web tools are run for one answer.",
)

# --- Exchanges ----------------------------------------------------------------------------------

BODY_BYTES_MAX = env.integer(
    "CLAUDCODE_BODY_BYTES_MAX", 33_554_432, "Largest request body; above it the answer is 413."
)
BODIES_BYTES_MAX = env.integer(
    "CLAUDCODE_BODIES_BYTES_MAX", 536_870_912, "All request bodies that one process holds."
)
FLIGHTS_BYTES_MAX = env.integer(
    "CLAUDCODE_FLIGHTS_BYTES_MAX",
    67_108_864,
    "Copies of answers in flight that one process keeps to share and to cache them.",
)
BODY_SECONDS_MAX = env.decimal(
    "CLAUDCODE_BODY_SECONDS_MAX", 60.0, "Longest time a client may take to send its body."
)
EXCHANGE_SECONDS_MAX = env.decimal(
    "CLAUDCODE_EXCHANGE_SECONDS_MAX", 3600.0, "Longest life of an exchange."
)
PING_AFTER_S = env.decimal(
    "CLAUDCODE_PING_AFTER_S", 15.0, "Silence of a stream after which the client gets a `ping`."
)
DRAIN_SECONDS_MAX = env.decimal(
    "CLAUDCODE_DRAIN_SECONDS_MAX",
    60.0,
    "How long the rest of an answer is read after a hang-up, for keys with hang-up `drain`.",
)
SHUTDOWN_SECONDS_MAX = env.integer(
    "CLAUDCODE_SHUTDOWN_SECONDS_MAX",
    30,
    "How long streams may finish when the gateway stops (`manage.py up` allows 4 at most).",
)

# --- Limits -------------------------------------------------------------------------------------

LEASE_TTL_S = env.integer(
    "CLAUDCODE_LEASE_TTL_S", 60, "After this long without renewal an exchange is abandoned."
)
LEASE_RENEW_S = env.integer(
    "CLAUDCODE_LEASE_RENEW_S", 20, "How often a process renews the leases of its exchanges."
)
SHARDS = env.integer(
    "CLAUDCODE_SHARDS", 16, "Slots that keys and teams are spread over in Valkey. Never change it."
)
CACHE_READ_WEIGHT_PERCENT = env.integer(
    "CLAUDCODE_CACHE_READ_WEIGHT_PERCENT", 10, "What a token read from a cache counts in budgets."
)
FAST_PERCENT = env.integer(
    "CLAUDCODE_FAST_PERCENT",
    600,
    "What tokens of `speed: fast` cost, in percent of the model's price.",
)
COUNT_TOKENS_RPM = env.integer(
    "CLAUDCODE_COUNT_TOKENS_RPM", 3000, "Calls of `count_tokens` a minute, for each key."
)
VALKEY_SECONDS_MAX = env.decimal(
    "CLAUDCODE_VALKEY_SECONDS_MAX", 1.0, "Longest wait for Valkey; after it the answer is 503."
)
POLICY_CACHE_ENTRIES_MAX = env.integer(
    "CLAUDCODE_POLICY_CACHE_ENTRIES_MAX", 100_000, "Keys that one process remembers."
)
POLICY_AGE_S_MAX = env.integer(
    "CLAUDCODE_POLICY_AGE_S_MAX", 60, "After this long a remembered key is read again."
)
LOOKUPS_PER_S_MAX = env.integer(
    "CLAUDCODE_LOOKUPS_PER_S_MAX", 50, "Unknown keys that one process looks up in a second."
)

# --- Ledger -------------------------------------------------------------------------------------

DRAIN_BATCH = env.integer("CLAUDCODE_DRAIN_BATCH", 1000, "Ledger events that one statement writes.")
DRAIN_LAG_S_MAX = env.integer(
    "CLAUDCODE_DRAIN_LAG_S_MAX", 60, "`/readyz` fails when the ledger is further behind than this."
)
VALKEY_WAIT_REPLICAS = env.integer(
    "CLAUDCODE_VALKEY_WAIT_REPLICAS",
    0,
    "Replicas of Valkey that must have an admission or a settlement before it counts. 0: none.",
)
VALKEY_WAIT_MS_MAX = env.integer(
    "CLAUDCODE_VALKEY_WAIT_MS_MAX",
    100,
    "Longest wait for these replicas; after it the exchange goes on without them.",
)
EVENTS_KEEP_S = env.integer(
    "CLAUDCODE_EVENTS_KEEP_S", 60, "How long a written event stays in Valkey."
)
LEDGER_MONTHS_AHEAD = env.integer(
    "CLAUDCODE_LEDGER_MONTHS_AHEAD", 3, "Months of which the ledger's partitions are made ahead."
)
LEDGER_KEEP_DAYS = env.integer(
    "CLAUDCODE_LEDGER_KEEP_DAYS",
    0,
    "How long single exchanges stay in the ledger at least; sums stay. 0 keeps them for ever.",
)

# --- Alerts -------------------------------------------------------------------------------------

EMAIL_URL = env.secret(
    "CLAUDCODE_EMAIL_URL",
    "Mail server for alerts: `smtp+tls://user:password@host:587`, `smtps://…` or `smtp://…`."
    " Unset: no mail is sent.",
)
DEFAULT_FROM_EMAIL = env.text(
    "CLAUDCODE_EMAIL_FROM", "claudcode@localhost", "Whom mails of alerts come from."
)
ALERT_LOCAL_TARGETS = env.boolean(
    "CLAUDCODE_ALERT_LOCAL_TARGETS",
    False,
    "Webhooks may lead into private networks and to this machine, and by plain http.",
)

# --- Management API -----------------------------------------------------------------------------

MANAGEMENT_RPM = env.integer(
    "CLAUDCODE_MANAGEMENT_RPM", 600, "Requests to `/api/v1` a minute, for each operator token."
)

# --- Django -------------------------------------------------------------------------------------

INSTALLED_APPS = [
    "daphne",  # First: it replaces `runserver` with one that speaks ASGI.
    "unfold",  # Before the admin, whose templates it replaces.
    "unfold.contrib.filters",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.humanize",
    "django.contrib.postgres",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",  # What the page of the description is made of.
    "channels",
    "csp",
    "django_otp",
    "django_otp.plugins.otp_totp",
    "django_otp.plugins.otp_static",
    "axes",
    "keys",
    "usage",
    "proxy",
    "webtools",
    "operators.alerts",
    "portal",
    "operators",  # Behind those whose permissions its roles are made of.
    "claudcode",
]
MIDDLEWARE = [
    "claudcode.middleware.TrustedProxies",  # First: all others go by the address and the scheme.
    "django.middleware.security.SecurityMiddleware",
    "claudcode.middleware.PermissionsPolicy",
    "csp.middleware.CSPMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "portal.middleware.NobodyIsKnown",  # Before sessions, which it does without if it must.
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "operators.middleware.SignInSteps",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "axes.middleware.AxesMiddleware",
]
ROOT_URLCONF = "claudcode.urls"
ASGI_APPLICATION = "claudcode.asgi.application"
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [BASE_DIR / "templates"],
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
        },
    },
]
DATABASES = {"default": stores.database(DATABASE_URL, DATABASE_CONNECTIONS_MAX)}
if REPLICA_URL:
    DATABASES |= {"replica": stores.replica(REPLICA_URL, DATABASE_CONNECTIONS_MAX)}
DATABASE_ROUTERS = ["usage.replica.Router"]
CACHES = {"default": stores.cache(VALKEY_URL)}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"
LANGUAGE_CODE = "en"
USE_I18N = False
FORMAT_MODULE_PATH = "claudcode.formats"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"
STATICFILES_DIRS = [BASE_DIR / "static"]
# Static files are served out of the apps' own folders, so no `collectstatic` is owed to anyone.
WHITENOISE_USE_FINDERS = True
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": ["keys.api.authentication.BearerToken"],
    "DEFAULT_PERMISSION_CLASSES": ["keys.api.authentication.HasScope"],
    "DEFAULT_THROTTLE_CLASSES": ["keys.api.throttle.PerToken"],
    "DEFAULT_PARSER_CLASSES": ["keys.api.fields.StrictJSONParser"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_METADATA_CLASS": None,
    "DEFAULT_PAGINATION_CLASS": "keys.api.paging.KeysetPagination",
    "DEFAULT_SCHEMA_CLASS": "keys.api.schema.Schema",
    "EXCEPTION_HANDLER": "keys.api.problems.answer",
    "URL_FORMAT_OVERRIDE": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "ClaudCode management API",
    "DESCRIPTION": "Keys, plans, teams, models, prices, upstream accounts, web tools, usage,"
    " ledger, alerts, operator tokens and audit trail of a ClaudCode gateway.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SCHEMA_PATH_PREFIX": r"/api/v1",
    "SERVE_INCLUDE_SCHEMA": False,
    "COMPONENT_SPLIT_REQUEST": True,
    "ENUM_ADD_EXPLICIT_BLANK_NULL_CHOICE": False,
    "ENUM_NAME_OVERRIDES": {
        "KeyStatus": "keys.api.apikeys.STATUSES",
        "ExchangeStatus": "usage.api.ledger.STATUSES",
        "AlertKind": "operators.alerts.api.KIND_NAMES",
        "OperatorTokenStatus": "keys.api.operator_tokens.STATES",
    },
}
UNFOLD = {
    "SITE_TITLE": "ClaudCode",
    "SITE_HEADER": "ClaudCode",
    "SITE_URL": "/",
    "SITE_ICON": lambda _request: static("portal/mark.svg"),
    "SITE_FAVICONS": [
        {
            "rel": "icon",
            "type": "image/svg+xml",
            "href": lambda _request: static("portal/mark.svg"),
        }
    ],
    # The blue of the mark, as on the developers' pages.
    "COLORS": {
        "primary": {
            "50": "oklch(97% .014 254.604)",
            "100": "oklch(93.2% .032 255.585)",
            "200": "oklch(88.2% .059 254.128)",
            "300": "oklch(80.9% .105 251.813)",
            "400": "oklch(70.7% .165 254.624)",
            "500": "oklch(62.3% .214 259.815)",
            "600": "oklch(48.8% .243 264.376)",
            "700": "oklch(42.4% .199 265.638)",
            "800": "oklch(37.9% .146 265.522)",
            "900": "oklch(32.3% .12 266)",
            "950": "oklch(28.2% .091 267.935)",
        },
    },
    "DASHBOARD_CALLBACK": "claudcode.console.home.dashboard",
    "STYLES": [lambda _request: static("console/console.css")],
    "SCRIPTS": [
        lambda _request: static("console/console.js"),
        lambda _request: static("console/names.js"),
    ],
    "ACCOUNT": {
        "navigation": [
            {"title": "Change password", "link": "/admin/password_change/"},
            {"title": "Two-factor sign-in", "link": "/admin/second-factor/"},
        ]
    },
}

# --- Django's safety ----------------------------------------------------------------------------

HTTPS = PUBLIC_URL.startswith("https://")
AUTHENTICATION_BACKENDS = [
    "axes.backends.AxesStandaloneBackend",  # First: it refuses those who are locked out unheard.
    "operators.passwords.PasswordsMayBeOff",
    "django.contrib.auth.backends.ModelBackend",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.UserAttributeSimilarityValidator"},
    {
        "NAME": "django.contrib.auth.password_validation.MinimumLengthValidator",
        "OPTIONS": {"min_length": 12},
    },
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
    {"NAME": "django.contrib.auth.password_validation.NumericPasswordValidator"},
]
LOGIN_URL, LOGIN_REDIRECT_URL = "admin:login", "admin:index"
SESSION_COOKIE_AGE = SESSION_IDLE_S
SESSION_COOKIE_HTTPONLY = CSRF_COOKIE_HTTPONLY = True
SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = HTTPS
# Lax: a link to a page of the console, as in a mail, finds its reader signed in.
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
# Only a named proxy is asked for the scheme: `claudcode.middleware` drops what others claim.
SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https") if TRUSTED_PROXIES else None
# Without a named proxy every request looks like plain http, and would be redirected for ever.
SECURE_SSL_REDIRECT = HTTPS and bool(TRUSTED_PROXIES)
SECURE_HSTS_SECONDS = HSTS_S if HTTPS else 0
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = browser.content_security_policy()
SILENCED_SYSTEM_CHECKS = [
    # Other names below ours, and the lists that browsers are shipped with, are not ours to decide.
    "security.W005",
    "security.W021",
]
OTP_TOTP_ISSUER = "ClaudCode"
AXES_FAILURE_LIMIT = SIGN_IN_FAILURES_MAX
AXES_COOLOFF_TIME = timedelta(seconds=SIGN_IN_LOCK_S)
AXES_LOCKOUT_PARAMETERS = ["ip_address"]
AXES_CLIENT_IP_CALLABLE = "operators.throttle.network"
AXES_USERNAME_CALLABLE = "operators.throttle.no_name"
AXES_LOCKOUT_CALLABLE = "operators.throttle.locked_out"
# Else whoever has an account could guess at others' passwords for ever, signing in in between.
AXES_RESET_ON_SUCCESS = False
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
# The audit trail has what these would hold.
AXES_DISABLE_ACCESS_LOG = True
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False

# --- Mail ---------------------------------------------------------------------------------------

vars().update(mail.settings(EMAIL_URL))

# --- Celery -------------------------------------------------------------------------------------

vars().update(stores.broker(BROKER_URL or VALKEY_URL))
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_TASK_IGNORE_RESULT = True
CELERY_TIMEZONE = "UTC"
CELERY_WORKER_SEND_TASK_EVENTS = False
# A tick that nobody took within its second is dropped: the next one does all of its work.
CELERY_BEAT_SCHEDULE = {
    "drain": {"task": "usage.tasks.drain", "schedule": 1.0, "options": {"expires": 1.0}},
    "sweep": {"task": "usage.tasks.sweep", "schedule": 1.0, "options": {"expires": 1.0}},
    "alerts": {
        "task": "operators.alerts.tasks.look",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    # It reads the dates of all keys, which move by days.
    "alerts-expiring": {
        "task": "operators.alerts.tasks.look_at_expiring",
        "schedule": 600.0,
        "options": {"expires": 600.0},
    },
    "clear-expired": {
        "task": "operators.tasks.clear",
        "schedule": 3600.0,
        "options": {"expires": 3600.0},
    },
    "heavy-hitters": {
        "task": "usage.tasks.list_heavy_hitters",
        "schedule": 60.0,
        "options": {"expires": 60.0},
    },
    # With a million keys it reads up to some hundred thousand rows.
    "console-busiest": {
        "task": "claudcode.tasks.keep_busiest",
        "schedule": 300.0,
        "options": {"expires": 300.0},
    },
    "alerts-deliver": {
        "task": "operators.alerts.tasks.deliver",
        "schedule": 5.0,
        "options": {"expires": 5.0},
    },
}

LOGGING = logging.configuration(LOG_LEVEL)
