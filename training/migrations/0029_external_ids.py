from django.conf import settings
from django.db import migrations, models

# What marked an imported job before: a tag.
TAG = "import:"


def tags_to_external_ids(apps, schema_editor):
    jobs = apps.get_model("training", "Job").objects.filter(reported=True)
    known = set()
    for job in jobs.exclude(tags=[]).order_by("created_at").only("tags", "owner_id").iterator():
        marks = [tag for tag in job.tags if tag.startswith(TAG)]
        if len(marks) != 1 or (job.owner_id, marks[0]) in known:
            continue
        known.add((job.owner_id, marks[0]))
        tags = [tag for tag in job.tags if tag != marks[0]]
        jobs.filter(pk=job.pk).update(external_id=marks[0], tags=tags)


class Migration(migrations.Migration):

    dependencies = [
        ("auth", "0012_alter_user_first_name_max_length"),
        ("training", "0028_trackio"),
        migrations.swappable_dependency(settings.AUTH_USER_MODEL),
    ]

    operations = [
        migrations.AddField(
            model_name="job",
            name="external_id",
            field=models.CharField(blank=True, default="", max_length=200),
        ),
        migrations.RunPython(tags_to_external_ids, migrations.RunPython.noop),
        migrations.AddConstraint(
            model_name="job",
            constraint=models.UniqueConstraint(
                condition=models.Q(("external_id", ""), _negated=True),
                fields=("owner", "external_id"),
                name="external_id_once_per_owner",
            ),
        ),
    ]
