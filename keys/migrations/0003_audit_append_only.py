"""The audit trail can only be added to: the database refuses anything else.

The one change let through is what the deletion of an account does: `actor` becomes empty,
`actor_name` stays.
"""

from django.db import migrations

CREATE = """
CREATE FUNCTION keys_auditevent_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.actor_id IS NULL
       AND to_jsonb(NEW) - 'actor_id' = to_jsonb(OLD) - 'actor_id' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit events are only ever added';
END $$;

CREATE TRIGGER keys_auditevent_append_only BEFORE UPDATE OR DELETE ON keys_auditevent
FOR EACH ROW EXECUTE FUNCTION keys_auditevent_refuse();
"""

DROP = """
DROP TRIGGER keys_auditevent_append_only ON keys_auditevent;
DROP FUNCTION keys_auditevent_refuse();
"""


class Migration(migrations.Migration):
    dependencies = [("keys", "0002_documented_models")]

    operations = [migrations.RunSQL(CREATE, DROP)]
