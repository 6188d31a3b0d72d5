-- Creates the tables of this example.
CREATE TABLE accounts (id int4 PRIMARY KEY, name text NOT NULL);
CREATE TABLE orders (
    id int8 PRIMARY KEY,
    account int4 NOT NULL REFERENCES accounts,
    total numeric(12, 2) NOT NULL
);
