-- Creates the tables of this example.
CREATE TABLE clicks (
    at timestamptz NOT NULL,
    visitor uuid NOT NULL,
    path text NOT NULL,
    milliseconds float4,
    properties jsonb NOT NULL
);
