"""The history of the schema. `REVISIONS` repeats it for `database.py`, which must not import alembic to know it.

To change the schema: edit `schema.py`, add ``versions/NNNN_words.py``, and append NNNN here. A test compares the three.
"""

REVISIONS = ("0001", "0002", "0003", "0004", "0005")
HEAD = REVISIONS[-1]
