"""The embedded, self-hosted platform: the same API as the closed service, in one process with SQLite and local disk.

Python 3.10+, installed with the extra ``server``. Nothing in the SDK imports this package; `Algorithmia.local` starts
it as a process of its own. `docs/architecture.md` is the plan of the house.
"""
