"""Settings: read once from the environment, each with a default that works on a bare machine.

What a value must look like is checked in `heimdall.checks`, which answers with a sentence.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from heimdall.environment import Environment
from heimdall.secret import kept_secret

BASE_DIR = Path(__file__).resolve().parent.parent
env = Environment()

DATA_DIR = env.folder("HEIMDALL_DATA_DIR", default=BASE_DIR / "data")
DEBUG = env.switch("DJANGO_DEBUG", default=False)
SECRET_KEY = env.text("DJANGO_SECRET_KEY") or kept_secret(DATA_DIR / "secret_key")
ALLOWED_HOSTS = env.hosts("DJANGO_ALLOWED_HOSTS", default=["localhost", "127.0.0.1", "[::1]"])

# Unset: everything runs in one process, with nothing else to install or start.
RABBITMQ_URL = env.broker("RABBITMQ_URL")
EMBEDDED = RABBITMQ_URL is None

LEASE_SECONDS = env.count("HEIMDALL_LEASE_SECONDS", default=15)
KEEPER_SECONDS = env.count("HEIMDALL_KEEPER_SECONDS", default=2)
# How many jobs one worker trains at once; they share its cores.
JOBS_AT_ONCE = env.count("HEIMDALL_JOBS_AT_ONCE", default=2)
TRAINER_THREADS = max(1, (os.cpu_count() or 1) // JOBS_AT_ONCE)
MAX_CRASHES = 3
UPLOAD_MAX_BYTES = 512 * 1024 * 1024
# What the API takes of each user, and how often one address may try a password.
REQUESTS_PER_MINUTE = env.count("HEIMDALL_REQUESTS_PER_MINUTE", default=6000)
SIGN_INS_PER_MINUTE = env.count("HEIMDALL_SIGN_INS_PER_MINUTE", default=30)

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
    "django.middleware.security.SecurityMiddleware",
    "whitenoise.middleware.WhiteNoiseMiddleware",
    "django.middleware.gzip.GZipMiddleware",
    "heimdall.policy.policy",
    "training.api.limits.told",
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
        "connect_timeout": 5,
        "keepalives_idle": 4,
        "keepalives_interval": 2,
        "keepalives_count": 3,
        "tcp_user_timeout": 10_000,
    }

CHANNEL_LAYERS = {
    "default": {"BACKEND": "channels.layers.InMemoryChannelLayer"}
    if EMBEDDED
    else {"BACKEND": "realtime.layer.HeimdallLayer", "CONFIG": {"host": RABBITMQ_URL}}
}

# A message only says "look": it may be lost, doubled or late, so it is acknowledged on arrival
# (RabbitMQ closes a channel that holds one for 30 minutes) and no result is kept.
CELERY_BROKER_URL = RABBITMQ_URL or "memory://localhost"
CELERY_TASK_DEFAULT_QUEUE = "heimdall.jobs"
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

LANGUAGE_CODE = "en-gb"
TIME_ZONE = "UTC"
USE_I18N = False
USE_TZ = True
DEFAULT_AUTO_FIELD = "django.db.models.BigAutoField"

STATIC_URL = "static/"
STATIC_ROOT = DATA_DIR / "static"
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "heimdall.statics.Hashed"},
}
WHITENOISE_USE_FINDERS = True  # where nothing has been collected, in tests and while developing

REST_FRAMEWORK = {
    "DEFAULT_AUTHENTICATION_CLASSES": [
        "training.api.auth.BearerAuthentication",
        "rest_framework.authentication.SessionAuthentication",
    ],
    "DEFAULT_PERMISSION_CLASSES": ["rest_framework.permissions.IsAuthenticated"],
    "DEFAULT_RENDERER_CLASSES": ["rest_framework.renderers.JSONRenderer"],
    "DEFAULT_PARSER_CLASSES": ["rest_framework.parsers.JSONParser"],
    "DEFAULT_SCHEMA_CLASS": "drf_spectacular.openapi.AutoSchema",
    "DEFAULT_THROTTLE_CLASSES": ["training.api.limits.PerUser"],
    # How many proxies of ours stand in front, whose word for the client's address is taken.
    "NUM_PROXIES": env.count("HEIMDALL_PROXIES", default=0, least=0),
    "EXCEPTION_HANDLER": "training.api.problems.handle",
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
        "training.api.schema.problems_everywhere",
    ],
    "SWAGGER_UI_DIST": "SIDECAR",
    "SWAGGER_UI_FAVICON_HREF": "SIDECAR",
}

LOGGING = {
    "version": 1,
    "disable_existing_loggers": False,
    "formatters": {"plain": {"format": "{asctime} {levelname} {name}: {message}", "style": "{"}},
    "handlers": {"stderr": {"class": "logging.StreamHandler", "formatter": "plain"}},
    "root": {"handlers": ["stderr"], "level": env.text("HEIMDALL_LOG_LEVEL", default="WARNING")},
}

# What was wrong in the environment; `heimdall.checks` says it and nothing starts.
ENVIRONMENT_PROBLEMS = tuple(env.problems)
