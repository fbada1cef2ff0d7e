"""Sign-ins that can be ended, and an audit trail that PostgreSQL itself keeps append-only.

Rows cannot be changed. They can be deleted only by the retention (`apps.access.audit.prune`), which says so in its transaction,
and only when they are older than a day. The table can be emptied only in databases made for tests.
"""

from django.db import migrations, models

GUARD = """
CREATE FUNCTION access_audit_guard() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('trackside.audit_retention', true) = 'on' AND OLD.at < now() - interval '1 day' THEN
        RETURN OLD;
    END IF;
    IF TG_OP = 'TRUNCATE' AND current_database() LIKE 'test\\_%' THEN
        RETURN NULL;
    END IF;
    RAISE EXCEPTION 'The audit trail is append-only: % is refused.', TG_OP USING ERRCODE = 'insufficient_privilege';
END $$;
CREATE TRIGGER access_audit_append_only BEFORE UPDATE OR DELETE ON access_auditevent
    FOR EACH ROW EXECUTE FUNCTION access_audit_guard();
CREATE TRIGGER access_audit_not_emptied BEFORE TRUNCATE ON access_auditevent
    FOR EACH STATEMENT EXECUTE FUNCTION access_audit_guard();
"""
UNGUARD = """
DROP TRIGGER access_audit_append_only ON access_auditevent;
DROP TRIGGER access_audit_not_emptied ON access_auditevent;
DROP FUNCTION access_audit_guard();
"""


class Migration(migrations.Migration):

    dependencies = [
        ('access', '0002_idempotent_answers'),
    ]

    operations = [
        migrations.AddField(
            model_name='auditevent',
            name='address',
            field=models.GenericIPAddressField(null=True),
        ),
        migrations.AddField(
            model_name='user',
            name='sign_in_epoch',
            field=models.IntegerField(default=0, editable=False),
        ),
        migrations.RunSQL(GUARD, UNGUARD),
    ]
