"""One folder per language of algorithms: its runner now, its environment and template with the build system."""
