"""Java: the runtime's sources are compiled with each project."""
