from django.apps import AppConfig


class HeimdallConfig(AppConfig):
    name = "heimdall"

    def ready(self) -> None:
        # The web process sends jobs through the Celery application: it has to exist by then.
        from heimdall import celery, checks  # noqa: F401
