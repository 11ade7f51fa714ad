"""What the platform does, without HTTP: each service has one subject and talks to storage, engine and database."""
