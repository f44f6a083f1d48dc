from django.db import migrations

from training.models.config_texts import ConfigTextsField, texts_of


BATCH = 500


def add_texts(apps, schema_editor):
    jobs = apps.get_model("training", "Job").objects
    changed = []
    for job in jobs.exclude(config={}).only("config").iterator(chunk_size=BATCH):
        job.config_texts = texts_of(job.config)
        changed.append(job)
        if len(changed) == BATCH:
            jobs.bulk_update(changed, ["config_texts"])
            changed.clear()
    jobs.bulk_update(changed, ["config_texts"])


class Migration(migrations.Migration):

    dependencies = [("training", "0030_job_resumable")]

    operations = [
        migrations.AddField(
            model_name="job", name="config_texts", field=ConfigTextsField(default=dict)
        ),
        migrations.RunPython(add_texts, migrations.RunPython.noop),
    ]
