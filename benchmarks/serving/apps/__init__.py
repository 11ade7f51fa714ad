"""The references' programs: each answers a greeting, and runs in its own environment, never in ours."""
