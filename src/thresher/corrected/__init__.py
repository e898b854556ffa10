"""Corrected data: the source of a run with the labels that people decided, written anew.

    decisions.sqlite, audit.parquet → corrections.py → plan.py    what becomes of each row
    the data as the run found them  → source.py, rows.py → plan.py
    exporting.py → writing.py → delimited.py, json_lines.py, parquet.py, folders.py
                                converted.py (another form), place.py (whole or not at all)
                 → changes.py   a list of what changes

The source is only ever read.
"""

from __future__ import annotations

from thresher.corrected.exporting import Exported, export

__all__ = ["Exported", "export"]
