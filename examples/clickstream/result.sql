-- Prints what the events of this example have left.
SET TimeZone = 'UTC';
SELECT at, visitor, path, milliseconds, properties -> 'ts' FROM clicks ORDER BY at;
