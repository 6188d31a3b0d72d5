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
