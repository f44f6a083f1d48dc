"""Indexes over the renamed result columns, apart from the data: PostgreSQL needs it."""

from django.db import migrations, models

from training.models.expressions import NullsAsInfinity, Parameter


class Migration(migrations.Migration):
    dependencies = [("training", "0008_programs")]

    operations = [
        migrations.AddIndex(
            "job", models.Index(NullsAsInfinity("headline_value"), models.F("id"), name="job_headline")
        ),
        migrations.AddIndex(
            "job", models.Index(NullsAsInfinity("best_value"), models.F("id"), name="job_best_value")
        ),
        *(
            migrations.AddIndex(
                "job",
                models.Index(
                    Parameter(name, "config"),
                    NullsAsInfinity("headline_value"),
                    models.F("id"),
                    name=f"job_{name}_headline",
                ),
            )
            for name in ("learning_rate", "batch_size")
        ),
    ]
