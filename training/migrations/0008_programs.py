"""A job names its program and objective; queue policy leaves the hyperparameters."""

from collections.abc import Iterator
from itertools import islice
from typing import Any

from django.db import migrations, models

POLICY = ("needs", "priority", "processes")
CHUNK = 500


def _chunks(rows: Any) -> Iterator[list[Any]]:
    found = rows.iterator(chunk_size=CHUNK)
    while chunk := list(islice(found, CHUNK)):
        yield chunk


def move_policy_out_of_config(apps: Any, schema_editor: Any) -> None:
    Job, Sweep = apps.get_model("training", "Job"), apps.get_model("training", "Sweep")
    trainings = Job.objects.filter(kind="training").only("id", "config", "processes")
    for jobs in _chunks(trainings):
        for job in jobs:
            moved = {name: job.config.pop(name) for name in POLICY if name in job.config}
            job.processes = moved.get("processes", 1)
            job.objective_metric, job.objective_direction = "val_loss", "minimize"
        Job.objects.bulk_update(
            jobs, ["config", "processes", "objective_metric", "objective_direction"]
        )
    for sweeps in _chunks(Sweep.objects.only("id", "config", "policy")):
        for sweep in sweeps:
            sweep.policy = {
                name: sweep.config.pop(name) for name in POLICY if name in sweep.config
            }
        Sweep.objects.bulk_update(sweeps, ["config", "policy"])


class Migration(migrations.Migration):
    dependencies = [("training", "0007_parameters_with_rmse")]

    operations = [
        migrations.RemoveIndex("job", "job_best_rmse"),
        migrations.RemoveIndex("job", "job_best_loss"),
        migrations.RemoveIndex("job", "job_learning_rate_rmse"),
        migrations.RemoveIndex("job", "job_batch_size_rmse"),
        migrations.RenameField("job", "best_val_loss", "best_value"),
        migrations.RenameField("job", "best_val_rmse", "headline_value"),
        migrations.AddField(
            "job", "program", models.CharField(max_length=100, default="localizer")
        ),
        migrations.AddField("job", "processes", models.PositiveSmallIntegerField(default=1)),
        migrations.AddField(
            "job", "objective_metric", models.CharField(max_length=100, blank=True, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            "job", "objective_direction", models.CharField(max_length=8, blank=True, default=""),
            preserve_default=False,
        ),
        migrations.AddField(
            "sweep", "program", models.CharField(max_length=100, default="localizer")
        ),
        migrations.AddField("sweep", "policy", models.JSONField(default=dict)),
        migrations.RunPython(move_policy_out_of_config, migrations.RunPython.noop),
    ]  # fmt: skip
