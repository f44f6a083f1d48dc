"""Django settings, derived from the environment variables in `heimdall.env`.

Every variable has a default that works on a machine without configuration.
"""

from __future__ import annotations

import os
from urllib.parse import urlsplit

from kombu import Queue

from heimdall import log_format
from heimdall.database import database_settings
from heimdall.env import BASE_DIR, check_data_dir, is_public, read_environment, restrict_new_files
from heimdall.secret_key import load_or_create_secret

restrict_new_files()
env, _problems = read_environment()

DATA_DIR = env.data_dir.absolute()
_data_dir_problem = check_data_dir(DATA_DIR)
# Invalid variables. `heimdall.checks` reports them, and no process starts.
ENVIRONMENT_PROBLEMS = (*_problems, *([_data_dir_problem] if _data_dir_problem else []))

DEBUG = env.debug
SECRET_KEY = env.secret_key or load_or_create_secret(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.allowed_hosts
# Empty, or a path that begins with a slash and does not end with one.
BASE_PATH = env.base_path
FORCE_SCRIPT_NAME = BASE_PATH or None

# A public host name is served behind a TLS proxy; localhost and addresses are not.
HTTPS = (not DEBUG and any(map(is_public, ALLOWED_HOSTS))) if env.https is None else env.https
# Number of trusted reverse proxies; X-Forwarded-For is read that many hops deep.
PROXIES = int(HTTPS) if env.proxies is None else env.proxies

# Without a broker everything runs in one process, with nothing else to install or start.
PROGRAMS_DIR = env.programs_dir
# The URL as it was given; `BROKER` has its options.
BROKER = env.rabbitmq_url
RABBITMQ_URL = os.environ["RABBITMQ_URL"].strip() if BROKER else None
EMBEDDED = RABBITMQ_URL is None

# Where programs reach the web server. The embedded mode sets its own address when it listens.
WEB_URL = env.web_url
MAP_TILES, MAP_ATTRIBUTION = env.map_tiles, env.map_attribution
LEASE_SECONDS = env.lease_seconds
REPORT_SILENCE_SECONDS = env.report_silence_seconds
MLFLOW_SILENCE_SECONDS = env.mlflow_silence_seconds
TRACKIO_SILENCE_SECONDS = env.trackio_silence_seconds
MAINTENANCE_SECONDS = env.maintenance_seconds
JOBS_AT_ONCE = env.jobs_at_once
TRAINER_THREADS = max(1, (os.cpu_count() or 1) // JOBS_AT_ONCE)
TRAINER_MEMORY = env.trainer_memory
MAX_CRASHES = 3
WORKER_HAS = env.worker_has
WEBHOOK_ALLOW_PRIVATE = env.webhook_allow_private
REQUESTS_PER_MINUTE = env.requests_per_minute
SIGN_INS_PER_MINUTE = env.sign_ins_per_minute
TOKEN_MAX_DAYS = env.token_max_days
# Per web process, because each connection costs memory and time for every event.
# Each has a thread and a connection to the database.
REQUESTS_AT_ONCE = env.requests_at_once
SOCKETS_PER_USER = env.sockets_per_user
# By name of the limit in training.accounts.limits; staff can change them for single users.
USER_LIMITS = {
    "queued_jobs": env.queued_jobs_per_user,
    "running_jobs": env.running_jobs_per_user,
    "reported_jobs": env.reported_jobs_per_user,
    "running_sweeps": env.running_sweeps_per_user,
    "projects": env.projects_per_user,
    "imports": env.imports_per_user,
    "streams": env.sockets_per_user,
    "downloads": env.downloads_per_user,
    "uploads": env.uploads_per_user,
    "predictions": env.predictions_per_user,
    "stored_bytes": env.stored_bytes_per_user,
    "webhooks": env.webhooks_per_user,
    "pending_deliveries": env.pending_deliveries_per_user,
}
UPLOAD_MAX_BYTES = 512 * 1024 * 1024
# The files that one reported job may store.
ARTIFACTS_MAX_BYTES = 4 * 1024**3
# Of predictions, where 200,000 measurements with times since 1970 fit, and reports.
BODY_MAX_BYTES = 32 * 1024 * 1024
# Of what a Trackio client has kept during an outage, which it sends in one request.
TRACKIO_MAX_BYTES = 64 * 1024 * 1024
# Of all other requests. Larger bodies are read only once their sender is known.
SMALL_BODY_BYTES = 2 * 1024 * 1024
# The server limits bodies by path before they reach Django (`heimdall.daphne.request_limits`).
DATA_UPLOAD_MAX_MEMORY_SIZE = BODY_MAX_BYTES
# The page Locate has inputs for three signals and the service of up to 1,000 receivers.
DATA_UPLOAD_MAX_NUMBER_FIELDS = 5000

# `training.retention.policy`
RETENTION_DAYS = {
    "packed_events": env.pack_events_days,
    "events": env.keep_events_days,
    "epochs": env.keep_epochs_days,
    "points": env.keep_points_days,
    "system_figures": env.keep_system_days,
    "logs": env.keep_logs_days,
    "checkpoints": env.keep_checkpoints_days,
    "artifacts": env.keep_artifacts_days,
    "tokens": env.keep_tokens_days,
    "audit": env.keep_audit_days,
    "deliveries": env.keep_deliveries_days,
}

INSTALLED_APPS = [
    "heimdall.apps.HeimdallConfig",
    "training",
    "django.contrib.admin",
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.messages",
    "django.contrib.staticfiles",
    "channels",
    "django_filters",
    "rest_framework",
    "drf_spectacular",
    "drf_spectacular_sidecar",
]

MIDDLEWARE = [
    "heimdall.request_id.request_id_middleware",
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "heimdall.csp.csp_middleware",
    "heimdall.page_responses.cache_control_middleware",
    "heimdall.page_responses.method_page_middleware",
    "training.api.throttling.rate_limit_headers",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "heimdall.url_text.check_url_text",
    "heimdall.url_text.InvalidQueryMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

OIDC_NAME, OIDC_CREATES_USERS = env.oidc_name, env.oidc_creates_users
OIDC_CLIENT_ID, OIDC_HAS_SECRET = env.oidc_client_id, bool(env.oidc_client_secret)
OIDC_PROVIDER_ID = "sso" if env.oidc_issuer else ""
if env.oidc_issuer:
    INSTALLED_APPS += [
        "allauth",
        "allauth.account",
        "allauth.socialaccount",
        "allauth.socialaccount.providers.openid_connect",
    ]
    MIDDLEWARE += ["allauth.account.middleware.AccountMiddleware"]
    SOCIALACCOUNT_ONLY = True
    SOCIALACCOUNT_ADAPTER = "heimdall.oidc.ProviderAdapter"
    SOCIALACCOUNT_PROVIDERS = {
        "openid_connect": {
            "APPS": [
                {
                    "provider_id": OIDC_PROVIDER_ID,
                    "name": OIDC_NAME,
                    "client_id": env.oidc_client_id,
                    "secret": env.oidc_client_secret,
                    "settings": {"server_url": env.oidc_issuer, "oauth_pkce_enabled": True},
                }
            ]
        }
    }
    ACCOUNT_ADAPTER = "heimdall.oidc.AccountAdapter"
    ACCOUNT_EMAIL_VERIFICATION = "none"
    ACCOUNT_UNIQUE_EMAIL = False  # the adapter compares addresses

ROOT_URLCONF = "heimdall.urls"
ASGI_APPLICATION = "heimdall.asgi.application"
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

DATABASES = {
    "default": database_settings(
        env.database_url, DATA_DIR, pgbouncer=env.pgbouncer, lease_seconds=LEASE_SECONDS
    )
}

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if EMBEDDED
    else {"BACKEND": "realtime.channel_layer.TopicChannelLayer", "CONFIG": {"host": RABBITMQ_URL}}
}

# A message only triggers a look at the queue in the database: it may be lost, duplicated or late.
# So it is acknowledged on arrival (RabbitMQ closes a channel that holds one for 30 minutes), and no
# result is stored.
CELERY_BROKER_URL = BROKER.url if BROKER else "memory://localhost"
CELERY_BROKER_USE_SSL = BROKER.kombu_ssl() if BROKER else False
CELERY_TASK_DEFAULT_QUEUE = "heimdall.jobs"
# One queue for each need; a worker consumes those that match its hardware, or those given by `-Q`.
CELERY_TASK_QUEUES = [
    Queue(name, routing_key=name)
    for name in (CELERY_TASK_DEFAULT_QUEUE, *(f"heimdall.{hardware}" for hardware in WORKER_HAS))
]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_CONSUMER = "heimdall.celery_consumer:ReconnectingConsumer"
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = JOBS_AT_ONCE
# An exclusive queue would keep a second worker of the same name from starting.
CELERY_CONTROL_QUEUE_EXCLUSIVE = False
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_HEARTBEAT = 20 if BROKER is None or BROKER.heartbeat is None else BROKER.heartbeat
CELERY_BROKER_CONNECTION_TIMEOUT = (BROKER and BROKER.connect_seconds) or 4
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"polling_interval": 0.05}
    if EMBEDDED
    else {"confirm_publish": True, "read_timeout": 5, "write_timeout": 5}
)

# Password resets are offered only if mail can be sent.
SENDS_EMAIL = env.email is not None
if env.email is not None:
    EMAIL_BACKEND = env.email.backend
    EMAIL_HOST, EMAIL_PORT = env.email.host, env.email.port
    EMAIL_HOST_USER, EMAIL_HOST_PASSWORD = env.email.user, env.email.password
    EMAIL_USE_SSL, EMAIL_USE_TLS = env.email.use_ssl, env.email.use_tls
    EMAIL_FILE_PATH = env.email.folder
    public_host = next(filter(is_public, ALLOWED_HOSTS), "localhost").lstrip(".")
    DEFAULT_FROM_EMAIL = env.email.sender or f"heimdall@{public_host}"
EMAIL_TIMEOUT = 20
EMAIL_SUBJECT_PREFIX = "[Heimdall] "
PASSWORD_RESET_TIMEOUT = 4 * 3600

AUTHENTICATION_BACKENDS = ["training.accounts.authentication.LimitedModelBackend"]
AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "training.accounts.passwords.AuditedMinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "jobs"
LOGOUT_REDIRECT_URL = "login"

CSRF_TRUSTED_ORIGINS = list(env.trusted_origins)
if HTTPS:
    # The proxy terminates TLS. It sets this header and removes the one that a client may have sent.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Probes and scrapers do not go through the proxy.
    SECURE_REDIRECT_EXEMPT = [rf"^({BASE_PATH[1:]}/)?(healthz|readyz|metrics)$"]
    SECURE_HSTS_SECONDS = env.hsts_seconds
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS += [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host != "*"]
# In the form of Django 6.0 (ADR 26). heimdall.csp adds the host's WebSocket origin to connect-src.
SECURE_CSP = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": [
        "'self'",
        "data:",
        *(["{0.scheme}://{0.netloc}".format(urlsplit(MAP_TILES))] if MAP_TILES else []),
    ],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    # Browsers apply it to redirects too, such as that to the OpenID Connect provider.
    "form-action": [
        "'self'",
        *(["{0.scheme}://{0.netloc}".format(urlsplit(env.oidc_issuer))] if env.oidc_issuer else []),
    ],
    "frame-ancestors": ["'none'"],
    "connect-src": ["'self'"],
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
CSRF_FAILURE_VIEW = "training.web.error_pages.csrf_failure"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_ENGINE = "training.accounts.sessions"
SESSION_COOKIE_PATH = CSRF_COOKIE_PATH = BASE_PATH or "/"
SESSION_COOKIE_AGE = 14 * 24 * 3600
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = f"{BASE_PATH}/static/"
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "heimdall.static_files.HashedStorage"},
}
WHITENOISE_USE_FINDERS = True  # where nothing has been collected: in tests and development

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "training.api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": [
        "rest_framework.permissions.IsAuthenticated",
        "training.api.scopes.HasScope",
    ],
    "DEFAULT_RENDERER_CLASSES": ["training.api.renderers.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["training.api.parsers.BoundedJSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["training.api.throttling.UserThrottle"],
    "EXCEPTION_HANDLER": "training.api.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Heimdall",
    "DESCRIPTION": "Queue, run and monitor PyTorch training jobs.",
    "VERSION": "1",
    "OAS_VERSION": "3.1.0",
    "SERVE_INCLUDE_SCHEMA": False,
    "POSTPROCESSING_HOOKS": [
        "drf_spectacular.hooks.postprocess_schema_enums",
        "training.api.openapi.add_problem_responses",
    ],
    "ENUM_NAME_OVERRIDES": {
        "SweepStatusEnum": "training.models.Sweep.State",
        "DeliveryStatusEnum": "training.models.webhooks.Delivery.State",
        "NeedsEnum": "training.models.states.Needs",
        "RequestedNeedsEnum": ["auto", "cpu", "gpu"],
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = log_format.configuration(level=env.log_level, formatter=env.log_format)
