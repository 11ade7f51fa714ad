"""Where file contents are kept, behind one interface."""
