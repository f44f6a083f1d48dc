from django.conf import settings
from django.db import migrations, models

import training.models.expressions


class Migration(migrations.Migration):
    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("training", "0006_team"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.RemoveIndex(
            model_name="job",
            name="job_learning_rate",
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                training.models.expressions.Parameter("learning_rate", "config"),
                training.models.expressions.NullsAsInfinity("best_val_rmse"),
                models.F("id"),
                name="job_learning_rate_rmse",
            ),
        ),
        migrations.AddIndex(
            model_name="job",
            index=models.Index(
                training.models.expressions.Parameter("batch_size", "config"),
                training.models.expressions.NullsAsInfinity("best_val_rmse"),
                models.F("id"),
                name="job_batch_size_rmse",
            ),
        ),
    ]
