"""The audit trail lets a person be taken out of it, in a transaction that says so in a row.

The transaction names the row `person.erase`, and the row the transaction; then names, details and
addresses may change, and nothing else.
"""

from django.db import migrations

REFUSE = """
CREATE OR REPLACE FUNCTION keys_auditevent_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE erased text := coalesce(current_setting('claudcode.erasing', true), '');
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.actor_id IS NULL
       AND to_jsonb(NEW) - 'actor_id' = to_jsonb(OLD) - 'actor_id' THEN
        RETURN NEW;
    END IF;
    IF TG_OP = 'UPDATE' AND erased <> ''
       AND to_jsonb(NEW) - '{actor_name,detail,address}'::text[]
           = to_jsonb(OLD) - '{actor_name,detail,address}'::text[]
       AND EXISTS (
           SELECT FROM keys_auditevent WHERE id = erased::bigint AND action = 'person.erase'
               AND detail->>'transaction' = pg_current_xact_id()::text
       ) THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit events are only ever added';
END $$;
"""

BEFORE = """
CREATE OR REPLACE FUNCTION keys_auditevent_refuse() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'UPDATE' AND NEW.actor_id IS NULL
       AND to_jsonb(NEW) - 'actor_id' = to_jsonb(OLD) - 'actor_id' THEN
        RETURN NEW;
    END IF;
    RAISE EXCEPTION 'audit events are only ever added';
END $$;
"""


class Migration(migrations.Migration):
    dependencies = [("keys", "0013_ledger_retention")]

    operations = [migrations.RunSQL(REFUSE, BEFORE)]
