from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        """Django looks for models in `models` alone; sign-ins are heard of by a signal."""
        from training.accounts import audit
        from training.models import webhooks  # noqa: F401

        audit.connect_signals()
