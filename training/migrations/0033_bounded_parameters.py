import training.models.expressions
from django.db import migrations, models

# On PostgreSQL, the expression of these indexes is null for long values now.
PARAMETERS = {
    "job_seed": ("seed", ()),
    **{
        f"job_{name}_headline": (
            name,
            (training.models.expressions.NullsAsInfinity("headline_value"), models.F("id")),
        )
        for name in ("learning_rate", "batch_size")
    },
}


class Migration(migrations.Migration):

    dependencies = [("training", "0032_sweep_team")]

    operations = [
        *(
            operation
            for index, (name, others) in PARAMETERS.items()
            for operation in (
                migrations.RemoveIndex("job", index),
                migrations.AddIndex(
                    "job",
                    models.Index(
                        training.models.expressions.Parameter(name, "config"), *others, name=index
                    ),
                ),
            )
        ),
        migrations.AlterField("sweep", "objective", models.CharField(max_length=250)),
        migrations.AlterField(
            "job", "objective_metric", models.CharField(blank=True, max_length=250)
        ),
    ]
