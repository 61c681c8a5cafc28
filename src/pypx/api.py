"""The typed interface of pypx: records in, records out, one exception class a kind of trouble.

Everything here is also where it is defined; this module only gathers it.  See ``docs/api.rst`` for examples.
"""

from __future__ import annotations

from pypx.db.layout import Layout
from pypx.db.service_keys import ServiceKeys
from pypx.db.smdb import Database
from pypx.errors import (
    CubeError,
    DatabaseError,
    InputError,
    InvalidDicomError,
    LockTimeoutError,
    PartialError,
    PeerError,
    PeerFailedError,
    PeerRejectedError,
    PeerUnreachableError,
    PxError,
    StorageError,
    ToolFailedError,
    ToolMissingError,
)
from pypx.model.fileoutcomes import FileOutcome, FileState
from pypx.model.identifiers import UID, AETitle, parse_ae_title, parse_uid
from pypx.model.keywords import Level, QueryModel
from pypx.model.outcomes import (
    Completeness,
    EchoOutcome,
    FindResult,
    MoveOutcome,
    MoveState,
    PushOutcome,
    RegisterOutcome,
    SeriesFound,
    SeriesState,
    SeriesStatus,
    StudyFound,
)
from pypx.model.packpath import DEFAULT_TEMPLATES, Templates, pack_path
from pypx.model.peers import CubeTarget, FolderTarget, PacsNode, S3Target, SwiftTarget, TlsSettings
from pypx.model.query import Query
from pypx.model.records import Element, ImageRecord, Instance, SeriesRef
from pypx.services.cube import CubeClient
from pypx.services.dcmtk import Limits, Programs
from pypx.workflows.chain import ChainOptions, ChainResult, run_chain
from pypx.workflows.echo import echo
from pypx.workflows.find import build_query, find
from pypx.workflows.listen import ListenOptions, listen
from pypx.workflows.move import retrieve
from pypx.workflows.push import PushOptions, push_files, push_series
from pypx.workflows.register import RegisterOptions, register, register_files
from pypx.workflows.repack import RepackOptions, repack
from pypx.workflows.status import refs_of_patient, refs_of_result, refs_of_study, series_status
from pypx.workflows.targets import carrier_to
from pypx.workflows.then import parse_then
from pypx.workflows.waiting import wait_for_images

__all__ = [
    "DEFAULT_TEMPLATES",
    "UID",
    "AETitle",
    "ChainOptions",
    "ChainResult",
    "Completeness",
    "CubeClient",
    "CubeError",
    "CubeTarget",
    "Database",
    "DatabaseError",
    "EchoOutcome",
    "Element",
    "FileOutcome",
    "FileState",
    "FindResult",
    "FolderTarget",
    "ImageRecord",
    "InputError",
    "Instance",
    "InvalidDicomError",
    "Layout",
    "Level",
    "Limits",
    "ListenOptions",
    "LockTimeoutError",
    "MoveOutcome",
    "MoveState",
    "PacsNode",
    "PartialError",
    "PeerError",
    "PeerFailedError",
    "PeerRejectedError",
    "PeerUnreachableError",
    "Programs",
    "PushOptions",
    "PushOutcome",
    "PxError",
    "Query",
    "QueryModel",
    "RegisterOptions",
    "RegisterOutcome",
    "RepackOptions",
    "S3Target",
    "SeriesFound",
    "SeriesRef",
    "SeriesState",
    "SeriesStatus",
    "ServiceKeys",
    "StorageError",
    "StudyFound",
    "SwiftTarget",
    "Templates",
    "TlsSettings",
    "ToolFailedError",
    "ToolMissingError",
    "build_query",
    "carrier_to",
    "echo",
    "find",
    "listen",
    "pack_path",
    "parse_ae_title",
    "parse_then",
    "parse_uid",
    "push_files",
    "push_series",
    "refs_of_patient",
    "refs_of_result",
    "refs_of_study",
    "register",
    "register_files",
    "repack",
    "retrieve",
    "run_chain",
    "series_status",
    "wait_for_images",
]  # fmt: skip
