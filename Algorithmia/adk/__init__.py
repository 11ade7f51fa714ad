"""What an algorithm imports: ``from Algorithmia import ADK``. Runs on CPython 2.7 and 3.6+."""
from .adk import ADK

__all__ = ["ADK"]
