"""Assets, their aliases, and who refers to them."""

import django.contrib.postgres.indexes
import django.db.models.deletion
import django.db.models.functions.text
import django.utils.timezone
from django.db import migrations, models


class Migration(migrations.Migration):

    dependencies = [
        ('dags', '0001_initial'),
    ]

    operations = [
        migrations.CreateModel(
            name='AssetAlias',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=1500)),
                ('group', models.CharField(default='asset', max_length=1500)),
            ],
            options={
                'indexes': [django.contrib.postgres.indexes.HashIndex(fields=['name'], name='alias_by_name')],
                'constraints': [models.UniqueConstraint(django.db.models.functions.text.MD5('name'), name='alias_name_once')],
            },
        ),
        migrations.CreateModel(
            name='Asset',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('name', models.CharField(max_length=1500)),
                ('uri', models.CharField(max_length=1500)),
                ('group', models.CharField(default='asset', max_length=1500)),
                ('extra', models.JSONField(default=dict)),
                ('watchers', models.JSONField(default=list)),
                ('is_active', models.BooleanField(default=False)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('aliases', models.ManyToManyField(related_name='assets', to='dags.assetalias')),
            ],
        ),
        migrations.CreateModel(
            name='AssetUse',
            fields=[
                ('id', models.BigAutoField(auto_created=True, primary_key=True, serialize=False, verbose_name='ID')),
                ('kind', models.CharField(max_length=10)),
                ('task_id', models.CharField(default='', max_length=250)),
                ('ref_name', models.CharField(max_length=1500, null=True)),
                ('ref_uri', models.CharField(max_length=1500, null=True)),
                ('created_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('updated_at', models.DateTimeField(default=django.utils.timezone.now)),
                ('alias', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='uses', to='dags.assetalias')),
                ('asset', models.ForeignKey(null=True, on_delete=django.db.models.deletion.CASCADE, related_name='uses', to='dags.asset')),
                ('dag', models.ForeignKey(on_delete=django.db.models.deletion.CASCADE, related_name='asset_uses', to='dags.dag')),
            ],
        ),
        migrations.AddIndex(
            model_name='asset',
            index=django.contrib.postgres.indexes.HashIndex(fields=['name'], name='asset_by_name'),
        ),
        migrations.AddIndex(
            model_name='asset',
            index=django.contrib.postgres.indexes.HashIndex(fields=['uri'], name='asset_by_uri'),
        ),
        migrations.AddConstraint(
            model_name='asset',
            constraint=models.UniqueConstraint(django.db.models.functions.text.MD5('name'), django.db.models.functions.text.MD5('uri'), name='asset_once'),
        ),
        migrations.AddConstraint(
            model_name='asset',
            constraint=models.UniqueConstraint(django.db.models.functions.text.MD5('name'), condition=models.Q(('is_active', True)), name='active_asset_name_once'),
        ),
        migrations.AddConstraint(
            model_name='asset',
            constraint=models.UniqueConstraint(django.db.models.functions.text.MD5('uri'), condition=models.Q(('is_active', True)), name='active_asset_uri_once'),
        ),
        migrations.AddIndex(
            model_name='assetuse',
            index=django.contrib.postgres.indexes.HashIndex(condition=models.Q(('ref_name__isnull', False)), fields=['ref_name'], name='asset_use_ref_name'),
        ),
        migrations.AddIndex(
            model_name='assetuse',
            index=django.contrib.postgres.indexes.HashIndex(condition=models.Q(('ref_uri__isnull', False)), fields=['ref_uri'], name='asset_use_ref_uri'),
        ),
        migrations.AddConstraint(
            model_name='assetuse',
            constraint=models.CheckConstraint(condition=models.Q(('kind__in', ('schedule', 'inlet', 'outlet'))), name='asset_use_kind_is_known'),
        ),
    ]
