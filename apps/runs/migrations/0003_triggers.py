"""What deferred task instances wait for, and an index for what runs out of time."""

import apps.access.fields
import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('dags', '0001_initial'),
        ('runs', '0002_events_and_default_pool'),
    ]

    operations = [
        migrations.CreateModel(
            name='Trigger',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('try_id', models.UUIDField()),
                ('classpath', models.CharField(max_length=1000)),
                ('kwargs', apps.access.fields.EncryptedTextField(default='{}')),
                ('queue', models.CharField(max_length=256, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('claimed_at', models.DateTimeField(null=True)),
            ],
        ),
        migrations.AddIndex(
            model_name='taskinstance',
            index=models.Index(condition=models.Q(('state__in', ('deferred', 'awaiting_input'))), fields=['next_at'], name='ti_timeout'),
        ),
        migrations.AddField(
            model_name='trigger',
            name='ti',
            field=models.OneToOneField(on_delete=django.db.models.deletion.CASCADE, related_name='waits_for', to='runs.taskinstance'),
        ),
        migrations.AddField(
            model_name='trigger',
            name='triggerer',
            field=models.ForeignKey(null=True, on_delete=django.db.models.deletion.SET_NULL, related_name='triggers', to='runs.process'),
        ),
    ]
