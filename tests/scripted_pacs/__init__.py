"""A PACS that misbehaves by script: real DICOM on 127.0.0.1, in a process of its own, with a journal of what it saw.

It serves whatever retrieves from a PACS and knows nothing of what it is pointed at.  ``ScriptedPacs`` starts it,
``Archive`` says what it holds, ``Script`` what goes wrong, and ``Journal`` what it was asked and what it sent.
"""

from __future__ import annotations

from scripted_pacs.archive import Archive, Instance, Patient, Series, Study, made_uid, make_archive
from scripted_pacs.cases import Case, SeriesTruth, draw_case
from scripted_pacs.journal import Asked, Association, Journal, Sent
from scripted_pacs.pacs import ScriptedPacs
from scripted_pacs.script import ALWAYS, Drop, Duplicate, Fault, Script

__all__ = [
    "ALWAYS",
    "Archive",
    "Asked",
    "Association",
    "Case",
    "Drop",
    "Duplicate",
    "Fault",
    "Instance",
    "Journal",
    "Patient",
    "Script",
    "ScriptedPacs",
    "Sent",
    "Series",
    "SeriesTruth",
    "Study",
    "draw_case",
    "made_uid",
    "make_archive",
]
