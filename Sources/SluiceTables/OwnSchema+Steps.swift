// Holds the SQL of Sluice's own tables, step by step. A step that was released does not change.

extension OwnSchema {
    /// Step 1: how far each partition has been applied, and the records that could not be. Byte by byte the former `0003_sluice.sql`.
    static let offsetsAndDeadLetters = """
        -- What Sluice itself keeps: how far each partition has been applied, and the records that could not be.

        -- One row a partition: the truth about what is in the database. It changes in the transaction that writes the rows \
        it speaks of.
        -- fillfactor 50: it is updated with every batch, and HOT updates keep it from growing.
        CREATE TABLE sluice_offsets (
            consumer_group text NOT NULL,
            topic          text NOT NULL,
            partition      int NOT NULL,
            -- The first offset that has not been applied.
            next_offset    bigint NOT NULL,
            -- Raised with every claim: who holds an older one writes nothing.
            epoch          bigint NOT NULL,
            -- The member that claimed last, and its session, so that a successor can end a transaction it left open.
            member         text NOT NULL,
            backend_pid    int,
            backend_start  timestamptz,
            updated_at     timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer_group, topic, partition)
        ) WITH (fillfactor = 50);

        -- One row a bad record, ever.
        CREATE TABLE sluice_dead_letters (
            consumer_group   text NOT NULL,
            topic            text NOT NULL,
            partition        int NOT NULL,
            "offset"         bigint NOT NULL,
            key              bytea,
            payload          bytea,
            -- [{"name": text, "value": base64 or null}, …] in the record's order; NULL: the record has none.
            headers          jsonb,
            record_timestamp timestamptz,
            reason           text NOT NULL,
            sqlstate         text,
            detail           text,
            failed_at        timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer_group, topic, partition, "offset")
        );

        -- Moves the partitions of one transaction from the offsets where they are expected to their next ones, all or none.
        --
        -- A row is moved only where epoch and next_offset are the caller's: a replay, and a zombie that has been fenced \
        (also one that has
        -- waited for the row's lock while it was), would match fewer rows than it names. Then SQLSTATE SL001 is raised, \
        which undoes the
        -- transaction of which this is a part. Rows are locked by topic and partition, so that callers whose partitions \
        overlap cannot
        -- deadlock.
        CREATE FUNCTION sluice_advance(
            consumer_group text, topics text[], partitions int[], epochs bigint[], expected bigint[], next bigint[]
        ) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE
            moved int;
        BEGIN
            WITH mine AS (
                SELECT o.topic, o.partition, w.epoch, w.expected, w.next
                FROM unnest(topics, partitions, epochs, sluice_advance.expected, sluice_advance.next)
                         AS w (topic, partition, epoch, expected, next)
                JOIN sluice_offsets o
                  ON o.consumer_group = sluice_advance.consumer_group AND o.topic = w.topic AND o.partition = w.partition
                ORDER BY o.topic, o.partition
                FOR NO KEY UPDATE OF o
            )
            UPDATE sluice_offsets o
            SET next_offset = mine.next, updated_at = now()
            FROM mine
            WHERE o.consumer_group = sluice_advance.consumer_group AND o.topic = mine.topic AND o.partition = mine.partition
              AND o.epoch = mine.epoch AND o.next_offset = mine.expected;
            GET DIAGNOSTICS moved = ROW_COUNT;
            IF moved <> cardinality(topics) THEN
                RAISE EXCEPTION 'fenced: % of % partitions are at the epoch and offset this worker knows', moved, \
        cardinality(topics)
                    USING ERRCODE = 'SL001';
            END IF;
        END
        $$;

        """

    /// Step 2: the pauses of operators. Byte by byte the former `0004_pauses.sql`.
    static let pauses = """
        -- What operators have paused, for all workers of a group.

        CREATE TABLE sluice_pauses (
            consumer_group text NOT NULL,
            -- '': every topic of the group.
            topic          text NOT NULL,
            -- -1: every partition of the topic.
            partition      int NOT NULL,
            -- In the operator's words.
            reason         text NOT NULL,
            -- The token's name, or loopback where there is no token.
            paused_by      text NOT NULL,
            paused_at      timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (consumer_group, topic, partition),
            CHECK (partition >= -1 AND (topic <> '' OR partition = -1))
        );

        """

    /// Step 3: what redrive needs to know of a dead letter, and a key that outlives the topic.
    static let deadLetterDetails = """
        -- A letter's key also tells apart records of one offset: those of a topic that was made anew begin at offset 0 again. Letters
        -- from before this step have the fingerprint 0.
        ALTER TABLE sluice_dead_letters
            -- FNV-1a 64 over the record's timestamp, key and payload.
            ADD COLUMN fingerprint bigint NOT NULL DEFAULT 0,
            -- The mapping file's name without its ending, and the table that the record was for.
            ADD COLUMN mapping     text,
            ADD COLUMN table_name  text,
            -- How often the record has become a dead letter.
            ADD COLUMN attempts    int NOT NULL DEFAULT 1,
            -- new: nobody has dealt with it since the last attempt.
            ADD COLUMN state       text NOT NULL DEFAULT 'new',
            DROP CONSTRAINT sluice_dead_letters_pkey,
            ADD PRIMARY KEY (consumer_group, topic, partition, "offset", fingerprint);

        -- For counting the letters of a group and deleting its oldest.
        CREATE INDEX sluice_dead_letters_failed_at ON sluice_dead_letters (consumer_group, failed_at);
        """

    /// Step 4: whether a table is as it was when its schema was read.
    static let tableVersion = """
        -- One number over what the catalog says about a table, as far as a plan to write it depends on it. NULL: there is no such
        -- table.
        --
        -- It adds up hashes of the transactions that wrote the rows of the catalog (xmin), so a change of any of them gives another
        -- number. VACUUM and ANALYZE change none of what it reads: of pg_class it takes flags only. It reads pg_inherits and not
        -- pg_partition_tree, which would lock every partition.
        CREATE FUNCTION sluice_table_version(relation text) RETURNS bigint LANGUAGE plpgsql
        -- Without these settings each call would be planned anew, or read the catalog as a whole.
        SET plan_cache_mode = force_generic_plan SET enable_seqscan = off SET enable_bitmapscan = off AS $$
        DECLARE
            root oid := to_regclass(relation);
            -- The table, and where it is partitioned all its partitions.
            tree oid[] := ARRAY[root];
            is_partitioned bool;
            has_own_types bool;
            table_hash numeric;
            part_hash numeric := 0;
            type_hash numeric := 0;
            version bigint;
        BEGIN
            SELECT c.relkind = 'p',
                EXISTS (SELECT FROM pg_attribute a WHERE a.attrelid = root AND a.attnum > 0 AND a.atttypid >= 16384),
                hashtextextended(concat_ws(' ', c.oid, c.relkind, c.relpersistence, c.relowner, c.relrowsecurity,
                    c.relforcerowsecurity, EXISTS (SELECT FROM pg_inherits i WHERE i.inhparent = root)), 1)
            INTO is_partitioned, has_own_types, table_hash FROM pg_class c WHERE c.oid = root;
            IF is_partitioned THEN
                WITH RECURSIVE part(relid, hash) AS (
                    SELECT root, 0::bigint
                    UNION ALL
                    SELECT i.inhrelid, hashtextextended(i.xmin::text, 2) FROM part p JOIN pg_inherits i ON i.inhparent = p.relid
                )
                SELECT array_agg(p.relid), sum(p.hash) INTO tree, part_hash FROM part p;
            END IF;
            -- Domains, and the domains that they are made of. Types of users have 16384 or more.
            IF has_own_types THEN
                WITH RECURSIVE kind(oid) AS (
                    SELECT a.atttypid FROM pg_attribute a WHERE a.attrelid = root AND a.attnum > 0 AND a.atttypid >= 16384
                    UNION
                    SELECT t.typbasetype FROM kind k JOIN pg_type t ON t.oid = k.oid WHERE t.typbasetype >= 16384
                )
                SELECT sum(hashtextextended(t.xmin::text, 3)) INTO type_hash FROM kind k JOIN pg_type t ON t.oid = k.oid;
            END IF;
            SELECT ((table_hash + part_hash + type_hash + sum(entry.hash)) % 9223372036854775807)::bigint INTO version FROM (
                SELECT hashtextextended(i.xmin::text, 4) AS hash FROM pg_inherits i WHERE i.inhrelid = root
                UNION ALL
                SELECT hashtextextended(a.xmin::text, 5) FROM pg_attribute a WHERE a.attrelid = ANY (tree) AND a.attnum > 0
                UNION ALL
                SELECT hashtextextended(d.xmin::text, 6) FROM pg_attrdef d WHERE d.adrelid = root
                UNION ALL
                -- Before PostgreSQL 14 the states of an index change in place.
                SELECT hashtextextended(concat_ws(' ', x.xmin, x.indisready, x.indisvalid), 7)
                FROM pg_index x WHERE x.indrelid = ANY (tree)
                UNION ALL
                SELECT hashtextextended(k.xmin::text, 8) FROM pg_constraint k WHERE k.conrelid = ANY (tree)
                UNION ALL
                -- Foreign keys of other tables have triggers here.
                SELECT hashtextextended(g.xmin::text, 9) FROM pg_trigger g WHERE g.tgrelid = ANY (tree)
                UNION ALL
                SELECT hashtextextended(w.xmin::text, 10) FROM pg_rewrite w WHERE w.ev_class = root
            ) AS entry;
            RETURN version;
        END
        $$;

        -- Raises SQLSTATE SL002 where the table is not at the version that a plan was made for. It belongs at the end of a transaction
        -- that has written to the table, whose lock keeps triggers, constraints and indexes from being added until COMMIT.
        CREATE FUNCTION sluice_require_table_version(relation text, expected bigint) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            IF sluice_table_version(relation) IS DISTINCT FROM expected THEN
                RAISE EXCEPTION 'table % has changed since its schema was read', relation USING ERRCODE = 'SL002';
            END IF;
        END
        $$;

        """

    /// Step 5: what the record before the next offset was.
    static let lastRecords = """
        -- A topic that was deleted and created again has other records at the same offsets. Where last_offset is not
        -- next_offset - 1 (an operator or a worker of before this step has moved the offset), nothing is compared.
        ALTER TABLE sluice_offsets
            -- The offset of the record that was applied last.
            ADD COLUMN last_offset      bigint,
            -- FNV-1a 64 over its timestamp, key and payload.
            ADD COLUMN last_fingerprint bigint;

        -- As the function of step 1, which workers of before this step still call while others have been updated. It also stores the
        -- fingerprints of the records before the next offsets.
        CREATE FUNCTION sluice_advance(
            consumer_group text, topics text[], partitions int[], epochs bigint[], expected bigint[], next bigint[],
            fingerprints bigint[]
        ) RETURNS void LANGUAGE plpgsql AS $$
        DECLARE
            moved int;
        BEGIN
            WITH mine AS (
                SELECT o.topic, o.partition, w.epoch, w.expected, w.next, w.fingerprint
                FROM unnest(topics, partitions, epochs, sluice_advance.expected, sluice_advance.next, fingerprints)
                         AS w (topic, partition, epoch, expected, next, fingerprint)
                JOIN sluice_offsets o
                  ON o.consumer_group = sluice_advance.consumer_group AND o.topic = w.topic AND o.partition = w.partition
                ORDER BY o.topic, o.partition
                FOR NO KEY UPDATE OF o
            )
            UPDATE sluice_offsets o
            SET next_offset = mine.next, last_offset = mine.next - 1, last_fingerprint = mine.fingerprint, updated_at = now()
            FROM mine
            WHERE o.consumer_group = sluice_advance.consumer_group AND o.topic = mine.topic AND o.partition = mine.partition
              AND o.epoch = mine.epoch AND o.next_offset = mine.expected;
            GET DIAGNOSTICS moved = ROW_COUNT;
            IF moved <> cardinality(topics) THEN
                RAISE EXCEPTION 'fenced: % of % partitions are at the epoch and offset this worker knows', moved, \
        cardinality(topics)
                    USING ERRCODE = 'SL001';
            END IF;
        END
        $$;

        """

    /// Step 6: which rows were deleted, and at which version.
    static let tombstones = """
        -- Of mappings with a version: an event that is older than the Delete of its row must not insert it again.
        CREATE TABLE sluice_tombstones (
            -- The table, with its schema, as SQL writes it.
            relation   text COLLATE "C" NOT NULL,
            -- For each column of the key four bytes of length, then the value in binary form; integers have eight bytes.
            key        bytea NOT NULL,
            -- Of the newest Delete: an integer, a date in days, or a timestamp in microseconds since 2000.
            version    bigint NOT NULL,
            deleted_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (relation, key)
        );

        -- For deleting the oldest.
        CREATE INDEX sluice_tombstones_deleted_at ON sluice_tombstones (relation, deleted_at);

        -- Raises SQLSTATE SL003 where a check has found keys that another transaction has changed meanwhile.
        CREATE FUNCTION sluice_require_versions(conflicts bigint) RETURNS void LANGUAGE plpgsql AS $$
        BEGIN
            IF conflicts > 0 THEN
                RAISE EXCEPTION '% keys were changed by another transaction meanwhile', conflicts USING ERRCODE = 'SL003';
            END IF;
        END
        $$;

        """
}
