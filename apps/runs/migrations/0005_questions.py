"""What tasks ask people, and the answers."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('runs', '0004_assets_and_backfills'),
    ]

    operations = [
        migrations.CreateModel(
            name='HITLDetail',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('try_id', models.UUIDField(unique=True)),
                ('try_number', models.IntegerField(default=1)),
                ('subject', models.TextField(default='')),
                ('body', models.TextField(null=True)),
                ('options', models.JSONField(default=list)),
                ('defaults', models.JSONField(null=True)),
                ('multiple', models.BooleanField(default=False)),
                ('params', models.JSONField(default=dict)),
                ('assigned_users', models.JSONField(default=list)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('responded_at', models.DateTimeField(null=True)),
                ('responded_by', models.JSONField(null=True)),
                ('chosen_options', models.JSONField(null=True)),
                ('params_input', models.JSONField(default=dict)),
                ('ti', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='questions', to='runs.taskinstance')),
            ],
        ),
    ]
