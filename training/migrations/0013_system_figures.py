import django.db.models.deletion
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('training', '0012_points'),
    ]

    operations = [
        migrations.CreateModel(
            name='SystemBlock',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('attempt', models.PositiveIntegerField()),
                ('first_at', models.DateTimeField()),
                ('samples', models.JSONField()),
                ('peak_memory', models.BigIntegerField()),
                ('updated_at', models.DateTimeField()),
                ('job', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='system_blocks', to='training.job')),
            ],
            options={
                'ordering': ['first_at'],
                'constraints': [models.UniqueConstraint(fields=('job', 'attempt', 'first_at'), name='system_block_once')],
            },
        ),
    ]
