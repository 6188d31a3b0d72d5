-- Creates the tables of this example.
CREATE TABLE orders (
    tenant text,
    order_id int8,
    version int4 NOT NULL,
    status text NOT NULL,
    total numeric(12, 2) NOT NULL,
    tags text[],
    details jsonb,
    first_source text,
    placed_at timestamptz NOT NULL,
    cancelled_at timestamptz,
    PRIMARY KEY (tenant, order_id)
);
