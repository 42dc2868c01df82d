"""Changes of the schema, in order. What has been released is never edited."""
