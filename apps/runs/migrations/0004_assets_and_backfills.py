"""Asset events, the queue of their consumers, backfills."""

import django.db.models.deletion
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('dags', '0002_assets'),
        ('runs', '0003_triggers'),
    ]

    operations = [
        migrations.CreateModel(
            name='AssetEvent',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('timestamp', models.DateTimeField(default=django.utils.timezone.now)),
                ('extra', models.JSONField(default=dict)),
                ('source_dag_id', models.CharField(max_length=250, null=True)),
                ('source_task_id', models.CharField(max_length=250, null=True)),
                ('source_run_id', models.CharField(max_length=250, null=True)),
                ('source_map_index', models.IntegerField(default=-1)),
                ('partition_key', models.CharField(max_length=250, null=True)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='events', to='dags.asset')),
                ('runs', models.ManyToManyField(related_name='consumed_asset_events', to='runs.run')),
                ('source_aliases', models.ManyToManyField(related_name='events', to='dags.assetalias')),
            ],
            options={
                'indexes': [models.Index(fields=['asset', 'timestamp', 'id'], name='asset_event_of_asset'), models.Index(fields=['timestamp', 'id'], name='asset_event_newest'), models.Index(fields=['source_dag_id', 'source_run_id'], name='asset_event_of_run')],
            },
        ),
        migrations.CreateModel(
            name='Backfill',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('from_date', models.DateTimeField()),
                ('to_date', models.DateTimeField()),
                ('dag_run_conf', models.JSONField(null=True)),
                ('is_paused', models.BooleanField(default=False)),
                ('reprocess_behavior', models.CharField(default='none', max_length=20)),
                ('max_active_runs', models.IntegerField(default=10)),
                ('run_on_latest_version', models.BooleanField(default=True)),
                ('triggering_user_name', models.CharField(max_length=250, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('completed_at', models.DateTimeField(null=True)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('dag', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='backfills', to='dags.dag')),
            ],
            options={
                'constraints': [models.UniqueConstraint(condition=models.Q(('completed_at__isnull', True)), fields=('dag',), name='one_open_backfill_per_dag'), models.CheckConstraint(condition=models.Q(('reprocess_behavior__in', ('none', 'failed', 'completed'))), name='backfill_reprocess_is_known'), models.CheckConstraint(condition=models.Q(('max_active_runs__gte', 1)), name='backfill_max_active_runs_positive')],
            },
        ),
        migrations.CreateModel(
            name='QueuedAsset',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('asset', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='queued', to='dags.asset')),
                ('dag', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='queued_assets', to='dags.dag')),
            ],
            options={
                'constraints': [models.UniqueConstraint(fields=('asset', 'dag'), name='queued_asset_once')],
            },
        ),
    ]
