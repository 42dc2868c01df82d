-- The CHECK of a session's state as comparisons. SQLite makes a table of three or more values after IN, anew for every
-- row that it checks: that was a third of what looking through the file took at each start. What is stored stays as it
-- is, so the text of the rule is all that changes (https://www.sqlite.org/lang_altertable.html).

PRAGMA writable_schema = ON;

UPDATE sqlite_schema SET sql = replace(
  sql,
  'CHECK (state IN (''pending'', ''abandoned'', ''active'', ''closing'', ''refunded''))',
  'CHECK (state = ''pending'' OR state = ''abandoned'' OR state = ''active'' OR state = ''closing'' OR state = ''refunded'')'
)
WHERE type = 'table' AND name = 'session';

PRAGMA writable_schema = RESET;
