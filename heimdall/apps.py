from django.apps import AppConfig


class HeimdallConfig(AppConfig):
    name = "heimdall"

    def ready(self) -> None:
        # The web process enqueues jobs through the Celery application, so it must be configured.
        from heimdall import celery, checks  # noqa: F401
