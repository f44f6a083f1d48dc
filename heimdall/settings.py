"""Django settings, derived from the environment variables in `heimdall.env`.

Every variable has a default that works on a machine without configuration.
"""

from __future__ import annotations

import os
from typing import Any

import dj_database_url
from kombu import Queue

from heimdall import log_format
from heimdall.env import BASE_DIR, check_data_dir, is_public, read_environment
from heimdall.secret_key import load_or_create_secret

env, _problems = read_environment()

DATA_DIR = env.data_dir.absolute()
_data_dir_problem = check_data_dir(DATA_DIR)
# Invalid variables. `heimdall.checks` reports them, and no process starts.
ENVIRONMENT_PROBLEMS = (*_problems, *([_data_dir_problem] if _data_dir_problem else []))

DEBUG = env.debug
SECRET_KEY = env.secret_key or load_or_create_secret(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.allowed_hosts

# A public host name is served behind a TLS proxy; localhost and addresses are not.
HTTPS = (not DEBUG and any(map(is_public, ALLOWED_HOSTS))) if env.https is None else env.https
# Number of trusted reverse proxies; X-Forwarded-For is read that many hops deep.
PROXIES = int(HTTPS) if env.proxies is None else env.proxies

# Without a broker everything runs in one process, with nothing else to install or start.
RABBITMQ_URL = env.rabbitmq_url
EMBEDDED = RABBITMQ_URL is None

LEASE_SECONDS = env.lease_seconds
MAINTENANCE_SECONDS = env.maintenance_seconds
JOBS_AT_ONCE = env.jobs_at_once
TRAINER_THREADS = max(1, (os.cpu_count() or 1) // JOBS_AT_ONCE)
MAX_CRASHES = 3
WORKER_HAS = env.worker_has
WEBHOOK_ALLOW_PRIVATE = env.webhook_allow_private
REQUESTS_PER_MINUTE = env.requests_per_minute
SIGN_INS_PER_MINUTE = env.sign_ins_per_minute
# Per web process, because each connection costs memory and time for every event.
SOCKETS_PER_USER = env.sockets_per_user
UPLOAD_MAX_BYTES = 512 * 1024 * 1024
# For all other request bodies: a prediction for 200,000 measurements fits.
BODY_MAX_BYTES = 64 * 1024 * 1024

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
    "training.api.throttling.rate_limit_headers",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.messages.middleware.MessageMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

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

DATABASES: dict[str, dict[str, Any]] = {
    "default": dict(
        dj_database_url.parse(
            env.database_url or f"sqlite:///{DATA_DIR}/heimdall.sqlite3",
            # Under ASGI each request has a thread of its own: a persistent connection would never
            # be used again, until PostgreSQL accepts no more.
            conn_max_age=0,
        )
    )
}
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A deferred transaction fails with "database is locked" when it begins to write while another
    # one writes; an immediate one waits. With WAL, readers are not blocked.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # Give up an unresponsive server or network after ten seconds instead of hours.
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        # A worker that freezes or loses the network during a write keeps the job's row locked, so
        # that no other worker could take over: PostgreSQL ends the transaction within a lease.
        "options": f"-c idle_in_transaction_session_timeout={LEASE_SECONDS * 1000}",
        "connect_timeout": 5,
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if EMBEDDED
    else {"BACKEND": "realtime.channel_layer.TopicChannelLayer", "CONFIG": {"host": RABBITMQ_URL}}
}

# A message only triggers a look at the queue in the database: it may be lost, duplicated or late.
# So it is acknowledged on arrival (RabbitMQ closes a channel that holds one for 30 minutes), and no
# result is stored.
CELERY_BROKER_URL = RABBITMQ_URL or "memory://localhost"
CELERY_TASK_DEFAULT_QUEUE = "heimdall.jobs"
# One queue for each need; a worker consumes those that match its hardware, or those given by `-Q`.
CELERY_TASK_QUEUES = [
    Queue(name, routing_key=name)
    for name in (CELERY_TASK_DEFAULT_QUEUE, *(f"heimdall.{hardware}" for hardware in WORKER_HAS))
]
CELERY_TASK_IGNORE_RESULT = True
CELERY_TASK_SERIALIZER = "json"
CELERY_ACCEPT_CONTENT = ["json"]
CELERY_WORKER_PREFETCH_MULTIPLIER = 1
CELERY_WORKER_CONCURRENCY = JOBS_AT_ONCE
CELERY_WORKER_HIJACK_ROOT_LOGGER = False
CELERY_WORKER_CANCEL_LONG_RUNNING_TASKS_ON_CONNECTION_LOSS = False
CELERY_BROKER_HEARTBEAT = 20
CELERY_BROKER_CONNECTION_TIMEOUT = 4
CELERY_BROKER_CONNECTION_RETRY_ON_STARTUP = True
CELERY_BROKER_CONNECTION_MAX_RETRIES = None
CELERY_BROKER_CHANNEL_ERROR_RETRY = True
CELERY_BROKER_TRANSPORT_OPTIONS = (
    {"polling_interval": 0.05}
    if EMBEDDED
    else {"confirm_publish": True, "read_timeout": 5, "write_timeout": 5}
)

AUTH_PASSWORD_VALIDATORS = [
    {"NAME": "django.contrib.auth.password_validation.MinimumLengthValidator"},
    {"NAME": "django.contrib.auth.password_validation.CommonPasswordValidator"},
]
LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "jobs"
LOGOUT_REDIRECT_URL = "login"

if HTTPS:
    # The proxy terminates TLS. It sets this header and removes the one that a client may have sent.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Probes and scrapers do not go through the proxy.
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
    SECURE_HSTS_SECONDS = env.hsts_seconds
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host != "*"]
# In the form of Django 6.0 (ADR 26). heimdall.csp adds the host's WebSocket origin to connect-src.
SECURE_CSP = {
    "default-src": ["'self'"],
    "script-src": ["'self'"],
    "style-src": ["'self'"],
    "img-src": ["'self'", "data:"],
    "object-src": ["'none'"],
    "base-uri": ["'none'"],
    "form-action": ["'self'"],
    "frame-ancestors": ["'none'"],
    "connect-src": ["'self'"],
}
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-us"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
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
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["training.api.renderers.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["training.api.throttling.UserThrottle"],
    "EXCEPTION_HANDLER": "training.api.errors.handle_exception",
    "UNAUTHENTICATED_USER": None,
}
SPECTACULAR_SETTINGS = {
    "TITLE": "Heimdall",
    "DESCRIPTION": "Train networks that localise radio transmitters, and watch them train.",
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
    },
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = log_format.configuration(level=env.log_level, formatter=env.log_format)
