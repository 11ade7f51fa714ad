"""What serving costs: the platform under load beside servers of the same text, and what many callers do to it."""
