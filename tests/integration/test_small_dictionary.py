"""Programs of DCMTK get a small dictionary: nothing of what a PACS answers may be lost by it."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRLittleEndian, ImplicitVRLittleEndian

from pypx.model.found import FindResult
from pypx.model.identifiers import AETitle
from pypx.model.pacs import PacsNode
from pypx.services.dcmtk import SMALL_DICTIONARY, Programs
from pypx.services.process import find_program
from pypx.workflows.find import build_query, find
from support.scripted import ScriptedPacs, answer, scripted_pacs
from support.servers import HOST

DICTIONARIES = Path("/usr/share/libdcmtk17")
WHOLE = ":".join(str(DICTIONARIES / name) for name in ("dicom.dic", "private.dic"))
STUDY, SERIES = "1.2.3", "1.2.3.4"


def more_than_asked_for(level: str) -> Dataset:
    """An answer with what nobody asked for, too: text, numbers, a private element, and sequences."""
    found = answer(
        QueryRetrieveLevel=level, SpecificCharacterSet="ISO_IR 100", StudyInstanceUID=STUDY, PatientID="77",
        PatientName="Müller^Käthe", PatientMotherBirthName="Höß", PatientWeight="71.5", StudyDate="20240301",
        ModalitiesInStudy=["CT", "SR"], NumberOfStudyRelatedSeries="1",
    )  # fmt: skip
    if level == "SERIES":
        found.SeriesInstanceUID, found.NumberOfSeriesRelatedInstances = SERIES, "3"
    found.Rows, found.SeriesNumber = 512, "7"
    found.private_block(0x0029, "SOMEBODY", create=True).add_new(1, "LO", "something")
    found.ReferencedStudySequence = Sequence([answer(ReferencedSOPInstanceUID="1.2.9")])
    found.AnatomicRegionSequence = Sequence([answer(CodeValue="T-D1100", CodeMeaning="Schädel")])
    return found


def story(asked: Dataset, _event: Any) -> Iterator[Any]:
    yield 0xFF00, more_than_asked_for(asked.QueryRetrieveLevel)


def ask(pacs: ScriptedPacs, *keywords: str, programs: Programs | None = None) -> FindResult:
    node = PacsNode(HOST, pacs.port, AETitle(pacs.aet), AETitle("PX"), AETitle("PX"))
    return find(build_query({"StudyInstanceUID": STUDY, **dict.fromkeys(keywords, "")}), node, programs=programs)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRLittleEndian])
def test_answers_are_the_same_as_with_the_whole_dictionary(syntax: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with scripted_pacs(find=story, transfer_syntaxes=(syntax,)) as pacs:
        found = ask(pacs)
        monkeypatch.setenv("DCMDICTPATH", WHOLE)
        known = ask(pacs)
    assert found.studies == known.studies
    values = {element.keyword: element.value for element in found.studies[0].elements}
    assert values["PatientName"] == "Müller^Käthe"
    assert values["PatientMotherBirthName"] == "Höß"
    assert values["Rows"] == "512"
    assert "1.2.9" in values["ReferencedStudySequence"]
    assert "Schädel" in values["AnatomicRegionSequence"]


@pytest.mark.parametrize(
    ("keywords", "given", "seen"),
    [
        (["StudyDate"], "", SMALL_DICTIONARY["DCMDICTPATH"]),
        (["StudyDate", "PatientMotherBirthName"], "", ""),
        (["StudyDate"], WHOLE, WHOLE),
    ],
)
def test_which_dictionary_findscu_gets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, keywords: list[str], given: str, seen: str
) -> None:
    monkeypatch.delenv("DCMDICTPATH", raising=False)
    if given:
        monkeypatch.setenv("DCMDICTPATH", given)
    script, told = tmp_path / "findscu", tmp_path / "told"
    script.write_text(f'#!/bin/sh\necho "$DCMDICTPATH" >> "{told}"\nexec "{find_program("findscu")}" "$@"\n')
    script.chmod(0o755)
    with scripted_pacs(find=story) as pacs:
        assert ask(pacs, *keywords, programs=Programs(findscu=str(script))).studies
    assert set(told.read_text().splitlines()) == {seen}
