"""The ADK under the name that algorithms written for the published ``algorithmia-adk`` import: ``from adk import ADK``.

It is `Algorithmia.adk`. Where ``algorithmia-adk`` itself is installed, its package takes precedence over this module.
"""
import sys

from Algorithmia.adk import ADK
from Algorithmia.adk import modeldata as modeldata

__all__ = ["ADK", "modeldata"]

# Enough of a package for `from adk.modeldata import ModelData`.
__path__ = []  # type: ignore[var-annotated]
sys.modules[__name__ + ".modeldata"] = modeldata
