"""Metadata in SQL: the schema, its migrations, and the one place that opens connections and transactions."""
