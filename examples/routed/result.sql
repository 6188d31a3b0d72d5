-- Prints what the events of this example have left.
SELECT 'account', a.* FROM accounts a ORDER BY id;
SELECT 'order', o.* FROM orders o ORDER BY id;
SELECT 'dead letter', mapping, table_name, reason, detail FROM sluice_dead_letters;
