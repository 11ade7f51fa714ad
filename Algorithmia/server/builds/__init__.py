"""Builds: from a commit to a directory that the engine can run. What it needs of the services is handed to it."""
