-- Creates the tables of this example.
CREATE TABLE customers (id int4 PRIMARY KEY, name text NOT NULL, bio text, born date, source_lsn int8);
CREATE TABLE products (sku text PRIMARY KEY, price numeric(10, 2) NOT NULL, attributes jsonb, updated timestamp);
CREATE TABLE orders (id int8, line int2, sku text NOT NULL, quantity int4 NOT NULL, at timestamptz, PRIMARY KEY (id, line));
