"""``smdb.SMDB``: the database as pypx 3 offers it to programs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.compat import legacy_smdb, smdb_json
from pypx.compat.api import make_call
from pypx.compat.legacy_call import Document
from pypx.compat.legacy_options import TMP_LOG
from pypx.compat.status_json import series_table_block, status_document, study_table_block
from pypx.db.layout import Layout
from pypx.db.smdb import Database
from pypx.errors import PxError
from pypx.model.identifiers import UID
from pypx.workflows import smdb
from pypx.workflows.status import ref_of_series, series_status

_DEFAULTS = {"str_logDir": TMP_LOG, "verbosity": 0, "b_debug": False, "str_debugFile": "/dev/null"}


class SMDB:
    """The database of a BASEMOUNT.

    Nothing is created by making one: reading leaves the disk as it is, writing makes what it needs.

    Parameters
    ----------
    args : ``str_logDir`` names the log directory; ``str_actionArgs`` and others are those of px-smdb.  Each method
        looks at it anew, so it may be changed in between
    """

    def __init__(self, args: Namespace | None = None) -> None:
        self.args = args if args is not None else Namespace()
        for name, value in _DEFAULTS.items():
            if not hasattr(self.args, name):
                setattr(self.args, name, value)
        self.d_DICOM: dict[str, Any] = {}

    @property
    def layout(self) -> Layout:
        """Where the database is."""
        return Layout.of_log(Path(str(self.args.str_logDir)).absolute())

    def _database(self) -> Database:
        return Database.open(self.layout)

    def housingDirs_create(self) -> None:
        """Make the BASEMOUNT, if it is not there."""
        Database.open_or_create(self.layout)

    def run(self) -> Document:
        """Do what ``args.str_action`` says; the document of px-smdb."""
        return legacy_smdb.run(make_call(self.args)).document

    # --- services

    def service_keyAccess(self, astr_service: str) -> Document:
        """The entries of ``swift``, ``storage``, ``cube``, ``pacs`` or ``telemetry``, passwords included.

        With ``args.str_actionArgs``, a JSON object of entries, they are added first.

        Returns
        -------
        ``status`` and, under the name as it was spelled, the entries; without any only ``status`` (false), and
        ``error`` if something went wrong
        """
        text = getattr(self.args, "str_actionArgs", "") or ""
        try:
            document = legacy_smdb.service(self.layout, astr_service, str(text), masked=False)
        except PxError as error:
            return {"status": False, "error": str(error)}
        return document if document["status"] else {"status": False}

    # --- the tags that are worked with

    def DICOMobj_set(self, d_DICOM: Mapping[str, Any]) -> dict[str, Any]:
        """Set the current tags: keyword to text."""
        self.d_DICOM = dict(d_DICOM)
        return self.d_DICOM

    def _tag(self, keyword: str) -> UID:
        return UID(str(self.d_DICOM.get(keyword, "")))

    def mapsUpdateForFile(self, str_file: str) -> Document:
        """Record a packed file; its tags are read from it."""
        try:
            database = self._database()
            done = smdb.record_file(database, Path(str_file))
            document = smdb_json.maps_update_document(done, database)
        except PxError as error:
            return {"status": False, "error": str(error)}
        recorded: Document = document["mapsUpdateForFile"]
        return recorded

    def mapsUpdateForFile_do(self) -> Document:
        """Record the file that ``args`` name (``str_xcrdirfile``, or ``str_xcrdir`` and ``str_xcrfile``)."""
        return self._action("mapsUpdateForFile")

    def mapsUpdateForPatient_do(self, astr_PatientID: str) -> Document:
        """Record every file of a patient anew."""
        return self._action("mapsUpdateForPatient", astr_PatientID)

    def imageDirs_getOnPatientID(self, astr_PatientID: str) -> Document:
        """The image directories of a patient."""
        return self._action("imageDirsPatientID", astr_PatientID)

    def imageDirs_getOnSeriesInstanceUID(self, astr_SeriesInstanceUID: str) -> Document:
        """The image directory of a series."""
        return self._action("imageDirsSeriesInstanceUID", astr_SeriesInstanceUID)

    def _action(self, action: str, text: str = "") -> Document:
        return legacy_smdb.run(make_call({**vars(self.args), "str_action": action, "str_actionArgs": text})).document

    # --- tables

    def seriesData(self, str_table: str, *args: Any) -> Document:
        """Read or set the table of the current series: ``meta retrieve push pack register``.

        Parameters
        ----------
        str_table : which one
        args : nothing for the whole table (under the key ``meta``), a field, or a field and its new value
        """
        field = str(args[0]) if args else "meta"
        series = self._tag("SeriesInstanceUID")
        try:
            database = self._database()
            if len(args) > 1:
                database.set_series_fields(series, str_table, {field: args[1]})
            table = database.series_fields(series, str_table)
        except PxError as error:
            return {"status": False, "error": str(error), field: {} if field == "meta" else None}
        if not args:
            return {"status": bool(table), "error": "" if table else "there is no such table", "meta": table}
        known = field in table
        return {"status": known, "error": "" if known else f"there is no {field}", field: table.get(field, {})}

    def seriesData_DBtablesGet(self, **kwargs: Any) -> Document:
        """Names of the table files of a series, and whether they exist."""
        series = UID(str(kwargs.get("SeriesInstanceUID") or self._tag("SeriesInstanceUID")))
        return series_table_block(self._database(), series, str(kwargs.get("outputFile") or ""))

    def studyData_DBtablesGet(self) -> Document:
        """Names of the table files of the current study, and whether they exist."""
        return study_table_block(self._database(), self._tag("StudyInstanceUID"))

    def patientData_DBtablesGet(self) -> Document:
        """Name of the table file of the current patient, and whether it exists."""
        (table,) = smdb.patient_tables(self._database(), str(self.d_DICOM.get("PatientID", "")))
        return {"status": True, "patientDataFile": {"name": str(table.path), "exists": table.exists}}

    # --- states

    def study_statusGet(self, str_StudyInstanceUID: str) -> Document:
        """Whether a study is recorded, and its table files."""
        block = study_table_block(self._database(), UID(str_StudyInstanceUID))
        return {"status": block["studyMetaFile"]["exists"], "studyTable": block}

    def series_statusGet(self, str_SeriesInstanceUID: str) -> Document:
        """Whether a series is recorded, and its table files."""
        block = series_table_block(self._database(), UID(str_SeriesInstanceUID))
        return {"status": block["series-meta"]["exists"], "seriesTable": block}

    def study_seriesListGet(self, str_StudyInstanceUID: str) -> Document:
        """The recorded series of a study."""
        series = [str(uid) for uid in self._database().series_of_study(UID(str_StudyInstanceUID))]
        return {"status": bool(series), "seriesList": series, "JSONparseError": []}

    def study_seriesContainsVerify(
        self, str_StudyInstanceUID: str, str_SeriesInstanceUID: str, b_verifySeriesInStudy: bool
    ) -> Document:
        """Whether a study has a series: ``study`` of the status document."""
        document = self._status(str_SeriesInstanceUID, str_StudyInstanceUID, verify=b_verifySeriesInStudy)
        study: Document = document["study"]
        return study

    def series_receivedAndRequested(self, str_SeriesInstanceUID: str) -> Document:
        """The counts of a series and its state: ``images`` of the status document."""
        images: Document = self._status(str_SeriesInstanceUID)["images"]
        return images

    def series_requestedFilesCount(self, str_SeriesInstanceUID: str) -> Document:
        """How many images were asked for; -1 if nobody asked."""
        return self._count(str_SeriesInstanceUID, "requested")

    def series_receivedFilesCount(self, str_SeriesInstanceUID: str) -> Document:
        """How many images have been recorded."""
        return self._count(str_SeriesInstanceUID, "received")

    def series_packedFilesCount(self, str_SeriesInstanceUID: str) -> Document:
        """How many of the recorded images are on disk."""
        return self._count(str_SeriesInstanceUID, "packed")

    def series_dbFilesCount(self, str_SeriesInstanceUID: str, str_type: str) -> Document:
        """How many images were pushed (``push``) or registered (``register``)."""
        return self._count(str_SeriesInstanceUID, "registered" if str_type == "register" else "pushed")

    def _count(self, series: str, name: str) -> Document:
        found = self._status(series)["images"][name]
        return {"status": bool(found.get("status")), "count": found["count"]}

    def _status(self, series: str, study: str = "", *, verify: bool = False) -> Document:
        database = self._database()
        ref = ref_of_series(database, UID(series), UID(study) if study else None)
        (found,) = series_status([ref], database)
        return status_document(found, database, verify=verify)


__all__ = ["SMDB"]
