"""The event stream's transaction id (Django has no xid8), its cursor index, and the pool that every task starts in."""

from django.db import migrations


def default_pool(apps, schema_editor):
    apps.get_model("runs", "Pool").objects.get_or_create(
        name="default_pool", defaults={"slots": 128, "description": "Default pool"}
    )


class Migration(migrations.Migration):
    dependencies = [("runs", "0001_initial")]
    operations = [
        migrations.RunSQL(
            [
                "ALTER TABLE runs_event ADD COLUMN xid xid8 NOT NULL DEFAULT pg_current_xact_id()",
                # live hub: events after a cursor
                "CREATE INDEX event_cursor ON runs_event (xid, id)",
            ],
            ["DROP INDEX event_cursor", "ALTER TABLE runs_event DROP COLUMN xid"],
        ),
        migrations.RunPython(default_pool, migrations.RunPython.noop),
    ]
