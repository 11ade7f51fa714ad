"""Python 3: the runner that a worker process executes."""
