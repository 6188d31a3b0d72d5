-- Change capture: every change of messages leaves a row in messages_cdc. By cdc_id the rows of one key are in the order of its events.
--
-- The triggers fire once a statement and see its rows as transition tables: per row they would cost three times as much.
-- INSERT … ON CONFLICT DO UPDATE fires both the INSERT and the UPDATE trigger, each with its own rows.

CREATE TABLE messages_cdc (
    cdc_id         bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    message_id     int NOT NULL,
    operation_type text NOT NULL,
    "timestamp"    timestamptz NOT NULL DEFAULT now(),
    name_before    varchar,
    message_before varchar,
    name_after     varchar,
    message_after  varchar
);

CREATE FUNCTION messages_capture() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF TG_OP = 'INSERT' THEN
        INSERT INTO messages_cdc (message_id, operation_type, name_after, message_after)
        SELECT message_id, 'INSERT', name, message FROM new_rows;
    ELSIF TG_OP = 'DELETE' THEN
        INSERT INTO messages_cdc (message_id, operation_type, name_before, message_before)
        SELECT message_id, 'DELETE', name, message FROM old_rows;
    ELSE
        -- A FULL JOIN is what it is for two reasons. It cannot be planned as a nested loop, whereas plpgsql would keep for ever the
        -- nested loop that suits a session's first, small batch (updates of 5,000 rows: 2.2 s each, against 0.04 s).
        -- And a statement that changes keys, which Sluice never does but a person may, loses nothing: the old key is captured as
        -- deleted, the new one as inserted, and a key that both left and arrived as updated.
        INSERT INTO messages_cdc (message_id, operation_type, name_before, message_before, name_after, message_after)
        SELECT COALESCE(n.message_id, o.message_id),
               CASE WHEN o.message_id IS NULL THEN 'INSERT' WHEN n.message_id IS NULL THEN 'DELETE' ELSE 'UPDATE' END,
               o.name, o.message, n.name, n.message
        FROM old_rows o FULL JOIN new_rows n ON n.message_id = o.message_id;
    END IF;
    RETURN NULL;
END
$$;

CREATE TRIGGER messages_capture_insert AFTER INSERT ON messages
    REFERENCING NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION messages_capture();
CREATE TRIGGER messages_capture_update AFTER UPDATE ON messages
    REFERENCING OLD TABLE AS old_rows NEW TABLE AS new_rows FOR EACH STATEMENT EXECUTE FUNCTION messages_capture();
CREATE TRIGGER messages_capture_delete AFTER DELETE ON messages
    REFERENCING OLD TABLE AS old_rows FOR EACH STATEMENT EXECUTE FUNCTION messages_capture();
