from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        """Django looks for models in `models` alone."""
        from training import subscriptions  # noqa: F401
