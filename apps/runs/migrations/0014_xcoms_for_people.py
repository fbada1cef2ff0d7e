"""XComs that hold secrets keep the form for people beside the value."""

from django.db import migrations, models


class Migration(migrations.Migration):
    dependencies = [("runs", "0013_awaited_partitions")]

    operations = [
        migrations.AddField(model_name="xcom", name="shown", field=models.TextField(null=True)),
    ]
