from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        """Django looks for models in `models` alone; sign-ins are heard of by a signal."""
        from training import audit, subscriptions  # noqa: F401

        audit.listen()
