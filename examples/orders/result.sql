-- Prints what the events of this example have left.
SET TimeZone = 'UTC';
SELECT tenant, order_id, version, status, total, tags, details, first_source, placed_at, cancelled_at IS NOT NULL
FROM orders ORDER BY tenant, order_id;
