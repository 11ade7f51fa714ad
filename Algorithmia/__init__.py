"""The public face (being written)."""
