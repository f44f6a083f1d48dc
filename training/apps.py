from django.apps import AppConfig


class TrainingConfig(AppConfig):
    name = "training"
    verbose_name = "Training"

    def ready(self) -> None:
        from training.accounts import audit, sessions
        from training.storage import file_removal

        audit.connect_signals()
        sessions.connect_signals()
        file_removal.connect_signals()
