from django.db import migrations, models


def copy_declarations(apps, schema_editor):
    """Jobs that can still be paused keep what their program declares today."""
    from training.programs.registry import describe_program

    jobs = apps.get_model("training", "Job").objects.filter(
        kind="training", status__in=["queued", "running", "paused"]
    )
    for name in jobs.order_by().values_list("program", flat=True).distinct():
        if not describe_program(name).resumable:
            jobs.filter(program=name).update(resumable=False)


class Migration(migrations.Migration):

    dependencies = [
        ("training", "0029_external_ids"),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="resumable",
            field=models.BooleanField(default=True),
        ),
        migrations.RunPython(copy_declarations, migrations.RunPython.noop),
    ]
