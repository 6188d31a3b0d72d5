-- Prints what the events of this example have left.
SET TimeZone = 'UTC';
SELECT 'customer', c.* FROM customers c ORDER BY id;
SELECT 'product', p.* FROM products p ORDER BY sku;
SELECT 'order', o.* FROM orders o ORDER BY id, line;
