"""Settings: read once from the environment, each with a default that works on a bare machine.

What a value must look like is checked in `heimdall.checks`, which answers with a sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from kombu import Queue

from heimdall import log_format
from heimdall.env import Environment, is_public
from heimdall.secret_key import load_or_create_secret

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

DATA_DIR = env.folder("HEIMDALL_DATA_DIR", default=BASE_DIR / "data")
DEBUG = env.switch("DJANGO_DEBUG", default=False)
SECRET_KEY = env.text("DJANGO_SECRET_KEY") or load_or_create_secret(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.hosts("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# A name that others reach is served behind a proxy that speaks TLS; a bare machine is not.
HTTPS = env.switch("HEIMDALL_HTTPS", default=not DEBUG and any(map(is_public, ALLOWED_HOSTS)))
# How many proxies of ours stand in front, whose word for the client's address is taken.
PROXIES = env.count("HEIMDALL_PROXIES", default=int(HTTPS), least=0)

# Unset: everything runs in one process, with nothing else to install or start.
RABBITMQ_URL = env.broker("RABBITMQ_URL")
EMBEDDED = RABBITMQ_URL is None

LEASE_SECONDS = env.count("HEIMDALL_LEASE_SECONDS", default=12)
KEEPER_SECONDS = env.count("HEIMDALL_KEEPER_SECONDS", default=2)
# How many jobs one worker trains at once; they share its cores.
JOBS_AT_ONCE = env.count("HEIMDALL_JOBS_AT_ONCE", default=2)
TRAINER_THREADS = max(1, (os.cpu_count() or 1) // JOBS_AT_ONCE)
MAX_CRASHES = 3
# Webhooks to this machine and its network, and without TLS: for tests and closed networks.
WEBHOOK_ALLOW_PRIVATE = env.switch("HEIMDALL_WEBHOOK_ALLOW_PRIVATE", default=False)
UPLOAD_MAX_BYTES = 512 * 1024 * 1024
# What the API takes of each user, and how often one address may try a password.
REQUESTS_PER_MINUTE = env.count("HEIMDALL_REQUESTS_PER_MINUTE", default=6000)
SIGN_INS_PER_MINUTE = env.count("HEIMDALL_SIGN_INS_PER_MINUTE", default=30)
# Of any other body: a prediction for 200,000 measurements fits.
BODY_MAX_BYTES = 64 * 1024 * 1024
# In one web process; each costs memory and a share of every event.
SOCKETS_PER_USER = env.count("HEIMDALL_SOCKETS_PER_USER", default=2000)
# What trainings may ask of this machine (`needs`); unset: a GPU counts where its driver is.
WORKER_HAS = env.hardware("HEIMDALL_WORKER_HAS")

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
    "heimdall.request_id.request_context",
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
    "default": env.database("DATABASE_URL", default=f"sqlite:///{DATA_DIR}/heimdall.sqlite3")
}
# Under ASGI each request has a thread of its own: a connection kept for the next one would be
# kept for nobody, until PostgreSQL takes no more.
DATABASES["default"]["CONN_MAX_AGE"] = 0
if DATABASES["default"]["ENGINE"] == "django.db.backends.sqlite3":
    # A deferred transaction that turns into a write fails with "database is locked" at once;
    # an immediate one waits its turn. WAL lets readers go on meanwhile.
    DATABASES["default"]["OPTIONS"] = {
        "transaction_mode": "IMMEDIATE",
        "timeout": 20,
        "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;",
    }
else:
    # A server or a network that has gone silent is given up after ten seconds, not after hours.
    DATABASES["default"]["OPTIONS"] = {
        **DATABASES["default"].get("OPTIONS", {}),
        # A worker that is frozen or cut off in the middle of a write holds the job's row, which
        # nobody else could then take over: PostgreSQL takes the lock away within a lease.
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

# A message only says "look": it may be lost, doubled or late, so it is acknowledged on arrival
# (RabbitMQ closes a channel that holds one for 30 minutes) and no result is kept.
CELERY_BROKER_URL = RABBITMQ_URL or "memory://localhost"
CELERY_TASK_DEFAULT_QUEUE = "heimdall.jobs"
# One queue for each need; a worker listens to those that it can meet. `-Q` narrows them.
CELERY_TASK_QUEUES = [
    Queue(name, routing_key=name)
    for name in (CELERY_TASK_DEFAULT_QUEUE, *(f"heimdall.{one}" for one in WORKER_HAS))
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
    # TLS ends in the proxy, which sets this header and strips what a client sent under its name.
    SECURE_PROXY_SSL_HEADER = ("HTTP_X_FORWARDED_PROTO", "https")
    SECURE_SSL_REDIRECT = True
    # Probes and scrapers come from inside, without the proxy.
    SECURE_REDIRECT_EXEMPT = [r"^(healthz|readyz|metrics)$"]
    SECURE_HSTS_SECONDS = env.count("HEIMDALL_HSTS_SECONDS", default=365 * 24 * 3600)
    SECURE_HSTS_INCLUDE_SUBDOMAINS = SECURE_HSTS_PRELOAD = True
    SESSION_COOKIE_SECURE = CSRF_COOKIE_SECURE = True
    CSRF_TRUSTED_ORIGINS = [f"https://{host.lstrip('.')}" for host in ALLOWED_HOSTS if host != "*"]
SECURE_REFERRER_POLICY = "same-origin"
SECURE_CROSS_ORIGIN_OPENER_POLICY = "same-origin"
SESSION_COOKIE_HTTPONLY = True
SESSION_COOKIE_SAMESITE = CSRF_COOKIE_SAMESITE = "Lax"
SESSION_COOKIE_AGE = 14 * 24 * 3600
X_FRAME_OPTIONS = "DENY"

LANGUAGE_CODE = "en-gb"
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
WHITENOISE_USE_FINDERS = True  # where nothing has been collected, in tests and while developing

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "training.api.authentication.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["training.api.renderers.OrjsonRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["training.api.throttling.PerUser"],
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

LOGGING = log_format.configuration(
    level=env.text("HEIMDALL_LOG_LEVEL", default="WARNING"),
    form=env.choice("HEIMDALL_LOG_FORMAT", ("text", "json")),
)

# What was wrong in the environment; `heimdall.checks` says it and nothing starts.
ENVIRONMENT_PROBLEMS = tuple(env.problems)
