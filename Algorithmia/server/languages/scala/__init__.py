"""Scala: the runtime's sources are compiled with each project, on top of Java's."""
