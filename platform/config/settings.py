"""All settings of the site, from the environment. The table in docs/settings.md lists them for people.

Secrets come from the environment (or `<NAME>_FILE`), else from files that `config.secrets` makes once in
TRACKSIDE_HOME. Without DATABASE_URL the embedded server's `server.json` names the database.
"""

from __future__ import annotations

import sys
from datetime import timedelta
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

from config.embedded_postgres import read_server_info
from config.env import BadSetting, env_bool, env_choice, env_float, env_int, env_list, env_path, env_str
from config.secrets import secret_text
from config.signin import Directory
from config.signin import read as read_signin
from trackside import __version__
from trackside.core import logline
from trackside.executors import registry
from trackside.runner.bundles import BadBundles, parse_bundles

ROOT = Path(__file__).resolve().parents[2]
VERSION = __version__

# --- Trackside ------------------------------------------------------------------------------------------------------
HOME = env_path("TRACKSIDE_HOME", "~/.trackside")
HOST = env_str("TRACKSIDE_HOST", "127.0.0.1")
PORT = env_int("TRACKSIDE_PORT", 8080, low=1, high=65535)
DAGS_FOLDER = env_path("TRACKSIDE_DAGS_FOLDER", str(ROOT / "examples"))
BUNDLE_TIMEOUT = env_float("TRACKSIDE_BUNDLE_TIMEOUT", 300.0, low=1.0)
try:
    DAG_BUNDLES = parse_bundles(env_str("TRACKSIDE_DAG_BUNDLES"), DAGS_FOLDER, BUNDLE_TIMEOUT)
except BadBundles as e:
    raise BadSetting(f"TRACKSIDE_DAG_BUNDLES {e}") from e
BUNDLES_FOLDER = env_path("TRACKSIDE_BUNDLES_FOLDER", str(HOME / "bundles"))
DISABLE_BUNDLE_VERSIONING = env_bool("TRACKSIDE_DISABLE_BUNDLE_VERSIONING", False)
DAG_IGNORE_FILE_SYNTAX = env_choice("TRACKSIDE_DAG_IGNORE_FILE_SYNTAX", "glob", ("glob", "regexp"))
PARALLELISM = env_int("TRACKSIDE_PARALLELISM", 32, low=1, high=10_000)
LOGS_FOLDER = env_path("TRACKSIDE_LOGS_FOLDER", str(HOME / "logs"))
DAGS_ARE_PAUSED_AT_CREATION = env_bool("TRACKSIDE_DAGS_ARE_PAUSED_AT_CREATION", True)
CREATE_CRON_DATA_INTERVALS = env_bool("TRACKSIDE_CREATE_CRON_DATA_INTERVALS", False)
SCAN_INTERVAL = env_float("TRACKSIDE_SCAN_INTERVAL", 2.0, low=0.1)
REPARSE_INTERVAL = env_float("TRACKSIDE_REPARSE_INTERVAL", 30.0, low=1.0)
PLUGINS_FOLDER = env_path("TRACKSIDE_PLUGINS_FOLDER", str(HOME / "plugins"))
CALLBACK_TIMEOUT = env_float("TRACKSIDE_CALLBACK_TIMEOUT", 300.0, low=1.0)
CALLBACK_PROCESSES = env_int("TRACKSIDE_CALLBACK_PROCESSES", 4, low=1, high=64)
PARSE_TIMEOUT = env_float("TRACKSIDE_PARSE_TIMEOUT", 30.0, low=0.5)
PARSE_MEMORY_MB = env_int("TRACKSIDE_PARSE_MEMORY_MB", 1024, low=64)
PARSE_PROCESSES = env_int("TRACKSIDE_PARSE_PROCESSES", 2, low=1, high=64)
MAX_INFRA_FAILURES = env_int("TRACKSIDE_MAX_INFRA_FAILURES", 3, low=0)
try:
    EXECUTORS = registry.configured(env_list("TRACKSIDE_EXECUTOR", registry.LOCAL))
except registry.WrongExecutors as e:
    raise BadSetting(str(e)) from e
EXECUTOR_NAMES = registry.names(EXECUTORS)
"""Every name a DAG file may use for an executor → its alias."""
SHIP_DAG_FILES = env_str("TRACKSIDE_KUBERNETES_DAG_FILES", "shipped") == "shipped" and any(e.kind == "kubernetes" for e in EXECUTORS)
TRIGGER_CAPACITY = env_int("TRACKSIDE_TRIGGER_CAPACITY", 1000, low=1)
HEARTBEAT = env_float("TRACKSIDE_HEARTBEAT", 5.0, low=0.2)
SELF_FENCE = env_float("TRACKSIDE_SELF_FENCE", 20.0, low=0.5)
KILL_GRACE = env_float("TRACKSIDE_KILL_GRACE", 5.0)
LEASE = env_float("TRACKSIDE_LEASE", 30.0, low=1.0)
if SELF_FENCE + KILL_GRACE >= LEASE or LEASE < 3 * HEARTBEAT:
    raise BadSetting(
        f"TRACKSIDE_SELF_FENCE ({SELF_FENCE}) + TRACKSIDE_KILL_GRACE ({KILL_GRACE}) must be less than TRACKSIDE_LEASE "
        f"({LEASE}), and the lease at least 3 × TRACKSIDE_HEARTBEAT ({HEARTBEAT}): else live tasks would count as lost."
    )
EVENT_RETENTION_DAYS = env_int("TRACKSIDE_EVENT_RETENTION_DAYS", 14, low=1)
RUN_RETENTION_DAYS = env_int("TRACKSIDE_RUN_RETENTION_DAYS", 0, low=0)
AUDIT_RETENTION_DAYS = env_int("TRACKSIDE_AUDIT_RETENTION_DAYS", 0, low=0)
MAX_BODY_BYTES = env_int("TRACKSIDE_MAX_BODY_BYTES", 1_048_576, low=1024)
MAX_XCOM_BYTES = env_int("TRACKSIDE_MAX_XCOM_BYTES", 32 * 1_048_576, low=1024)
MAX_PARTITION_KEYS = env_int("TRACKSIDE_MAX_PARTITION_KEYS", 1000, low=1)
STATE_RETENTION_DAYS = env_int("TRACKSIDE_STATE_RETENTION_DAYS", 30, low=0)
STATE_CLEAR_ON_SUCCESS = env_bool("TRACKSIDE_STATE_CLEAR_ON_SUCCESS", False)
MAX_STATE_BYTES = env_int("TRACKSIDE_MAX_STATE_BYTES", 65_535, low=0)
TEST_CONNECTION = env_bool("TRACKSIDE_TEST_CONNECTION", False)
try:
    TEST_CONNECTION_ALLOW = [ip_network(text) for text in env_list("TRACKSIDE_TEST_CONNECTION_ALLOW")]
except ValueError as e:
    raise BadSetting(f"TRACKSIDE_TEST_CONNECTION_ALLOW: {e}. Write networks such as 127.0.0.0/8, comma separated.") from e
RATE_LIMIT = env_int("TRACKSIDE_RATE_LIMIT", 12_000, low=0)
TOKEN_RATE_LIMIT = env_int("TRACKSIDE_TOKEN_RATE_LIMIT", 6_000, low=0)
TRACES = env_bool("TRACKSIDE_TRACES", False)
METRICS_TOKEN = env_str("TRACKSIDE_METRICS_TOKEN")
METRICS_OPEN = env_bool("TRACKSIDE_METRICS_OPEN", False)
LOG_FORMAT = env_choice("TRACKSIDE_LOG_FORMAT", "text", logline.FORMATS)
LOG_LEVEL = env_choice("TRACKSIDE_LOG_LEVEL", "INFO", logline.LEVELS).upper()

# --- Signing in from outside -------------------------------------------------------------------------------------------
_SIGN_IN = read_signin()
SIGN_IN_ROLES: dict[str, str] = _SIGN_IN["SIGN_IN_ROLES"]
"""Group out there → role here."""
SIGN_IN_DEFAULT_ROLE: str = _SIGN_IN["SIGN_IN_DEFAULT_ROLE"]
SIGN_IN_DOORS: list[tuple[str, str, str]] = _SIGN_IN["SIGN_IN_DOORS"]
"""Buttons of the sign-in page: words, name of the URL, its argument."""
LDAP: Directory | None = _SIGN_IN["LDAP"]
TRUSTED_PROXY_HEADER: str = _SIGN_IN["TRUSTED_PROXY_HEADER"]
TRUSTED_PROXY_GROUPS_HEADER: str = _SIGN_IN["TRUSTED_PROXY_GROUPS_HEADER"]
TRUSTED_PROXY_ADDRESSES: list[IPv4Network | IPv6Network] = _SIGN_IN["TRUSTED_PROXY_ADDRESSES"]
SOCIALACCOUNT_PROVIDERS: dict[str, dict[str, Any]] = _SIGN_IN["SOCIALACCOUNT_PROVIDERS"]
SOCIALACCOUNT_ADAPTER = "apps.access.outside.providers.Adapter"
SOCIALACCOUNT_LOGIN_ON_GET = True  # a link: a form that leads to another site is what form-action forbids
SOCIALACCOUNT_STORE_TOKENS = False
ACCOUNT_EMAIL_VERIFICATION = "none"
ACCOUNT_RATE_LIMITS = False

# --- Django ---------------------------------------------------------------------------------------------------------
SECRET_KEY = env_str("TRACKSIDE_SECRET_KEY") or secret_text(HOME, "django.key")
FERNET_KEYS = env_list("TRACKSIDE_FERNET_KEYS") or secret_text(HOME, "fernet.keys", fernet=True).split(",")
JWT_KEY = env_str("TRACKSIDE_JWT_KEY") or secret_text(HOME, "jwt.key")
WORKER_TOKEN = env_str("TRACKSIDE_WORKER_TOKEN") or secret_text(HOME, "worker.token")
JWT_LIFETIME = env_int("TRACKSIDE_JWT_LIFETIME", 86_400, low=60)
DEBUG = False
ALLOWED_HOSTS = env_list("TRACKSIDE_ALLOWED_HOSTS", "localhost,127.0.0.1,[::1]") + ([HOST] if HOST != "0.0.0.0" else [])  # noqa: S104
CSRF_TRUSTED_ORIGINS = env_list("TRACKSIDE_TRUSTED_ORIGINS")
ROOT_URLCONF = "config.urls"
ASGI_APPLICATION = "config.asgi.application"
AUTH_USER_MODEL = "access.User"
AUTHENTICATION_BACKENDS = ["axes.backends.AxesStandaloneBackend", "django.contrib.auth.backends.ModelBackend"]
AUTHENTICATION_BACKENDS += _SIGN_IN["AUTHENTICATION_BACKENDS"]
AXES_FAILURE_LIMIT = env_int("TRACKSIDE_LOGIN_FAILURES", 5, low=1)
AXES_COOLOFF_TIME = timedelta(seconds=env_int("TRACKSIDE_LOGIN_LOCKOUT", 900, low=1))
AXES_LOCKOUT_PARAMETERS = [["username", "ip_address"]]
AXES_RESET_ON_SUCCESS = True
AXES_RESET_COOL_OFF_ON_FAILURE_DURING_LOCKOUT = False
AXES_DISABLE_ACCESS_LOG = True  # the audit trail has the sign-ins
AXES_ENABLE_ADMIN = False
AXES_VERBOSE = False
SILENCED_SYSTEM_CHECKS = ["axes.W002"]  # the two doors answer for themselves (apps.access.lockout): no middleware for all requests
INSTALLED_APPS = [
    "apps.ui",
    "apps.runs",
    "apps.dags",
    "apps.access",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "django.contrib.postgres",
    "django.contrib.humanize",
    "rest_framework",
    "channels",
    "csp",
    "axes",
    "django_htmx",
    *_SIGN_IN["INSTALLED_APPS"],
]
MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "csp.middleware.CSPMiddleware",
    "apps.ui.languages.middleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    *_SIGN_IN["MIDDLEWARE"],
    "apps.access.rates.PageRates",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
    "django_htmx.middleware.HtmxMiddleware",
]
TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "DIRS": [ROOT / "templates"],
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
                "django.contrib.messages.context_processors.messages",
            ],
            "builtins": ["django.templatetags.i18n"],
            "loaders": [
                (
                    "django.template.loaders.cached.Loader",
                    ["django.template.loaders.filesystem.Loader", "django.template.loaders.app_directories.Loader"],
                )
            ],
        },
    }
]
PASSWORD_HASHERS = [
    "django.contrib.auth.hashers.Argon2PasswordHasher",
    "django.contrib.auth.hashers.PBKDF2PasswordHasher",
]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "home"
LOGOUT_REDIRECT_URL = "login"
LANGUAGE_CODE = "en"
LANGUAGES = [("en", "English"), ("de", "Deutsch")]  # docs/translations.md
LANGUAGE_COOKIE_NAME = "lang"
LANGUAGE_COOKIE_AGE = 31_536_000
LANGUAGE_COOKIE_SAMESITE = "Lax"
FORMAT_MODULE_PATH = ["apps.ui.formats"]
TIME_ZONE = "UTC"
USE_TZ = True
STATIC_URL = "/static/"
STATICFILES_DIRS = [ROOT / "static"]
STATIC_ROOT = HOME / "static"
APPEND_SLASH = False
DATA_UPLOAD_MAX_MEMORY_SIZE = MAX_BODY_BYTES
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_NAME = f"trackside_session_{PORT}"  # two instances on one host do not sign each other out
CSRF_COOKIE_NAME = f"trackside_csrf_{PORT}"
CSRF_COOKIE_SAMESITE = "Lax"
SECURE_CONTENT_TYPE_NOSNIFF = True
SECURE_REFERRER_POLICY = "same-origin"
X_FRAME_OPTIONS = "DENY"
CONTENT_SECURITY_POLICY = {
    "DIRECTIVES": {
        "default-src": ["'self'"],
        "script-src": ["'self'", "'wasm-unsafe-eval'"],
        "style-src": ["'self'"],
        "img-src": ["'self'", "data:"],
        "connect-src": ["'self'"],
        "worker-src": ["'self'", "blob:"],
        "frame-ancestors": ["'none'"],
        "base-uri": ["'self'"],
        "form-action": ["'self'"],
        "object-src": ["'none'"],
    }
}
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"


# --- Database -------------------------------------------------------------------------------------------------------
def _database(url: str) -> dict[str, object]:
    parts = urlsplit(url)
    if parts.scheme not in ("postgres", "postgresql"):
        raise BadSetting(f"DATABASE_URL must begin with postgresql://, got {parts.scheme or url!r}.")
    options: dict[str, object] = dict(parse_qsl(parts.query))
    host = options.pop("host", None) or unquote(parts.hostname or "")
    options.setdefault("application_name", "trackside")
    return {
        "ENGINE": "django.db.backends.postgresql",
        "NAME": unquote(parts.path.lstrip("/")) or "trackside",
        "USER": unquote(parts.username or ""),
        "PASSWORD": unquote(parts.password or ""),
        "HOST": host,
        "PORT": str(parts.port or ""),
        "CONN_MAX_AGE": None,
        "CONN_HEALTH_CHECKS": True,
        "OPTIONS": options,
        "DISABLE_SERVER_SIDE_CURSORS": True,
    }


def _database_url() -> str:
    if url := env_str("DATABASE_URL"):
        return url
    if info := read_server_info(HOME):
        return info.url()
    # nothing runs yet: commands that need no database (check, standalone) still work, others say so when they connect
    return "postgresql://nobody@127.0.0.1:1/trackside"


DATABASES = {"default": _database(_database_url())}

# --- REST -----------------------------------------------------------------------------------------------------------
REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "apps.access.authentication.BearerAuthentication",
        "apps.access.authentication.CookieAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "UNAUTHENTICATED_USER": None,
}

# --- Logging --------------------------------------------------------------------------------------------------------
LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"line": {"()": "trackside.core.logline.formatter", "kind": LOG_FORMAT}},
    "handlers": {"err": {"class": "logging.StreamHandler", "stream": sys.stderr, "formatter": "line"}},
    "root": {"handlers": ["err"], "level": LOG_LEVEL},
    "loggers": {
        "axes": {"level": "WARNING"},
        "django.request": {"level": "ERROR"},
        "uvicorn.access": {"level": "WARNING"},
        "httpx": {"level": "WARNING"},
    },
}
