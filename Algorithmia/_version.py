"""The version of the package; setup.py, the User-Agent and `algo --version` read it here."""

__version__ = "3.0.0"
