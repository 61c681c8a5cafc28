"""``repack.Process``: px-repack as pypx 3 offers it to programs."""

from __future__ import annotations

from argparse import Namespace
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pypx.compat import legacy_repack
from pypx.compat.api import make_call
from pypx.compat.legacy_call import Document
from pypx.errors import PxError
from pypx.model.keywords import RECORDED_KEYS
from pypx.model.packpath import PYPX_TEMPLATES, Templates, pack_path
from pypx.model.template import parse_template
from pypx.services.dicomfile import read_instance

_PARTS = {
    "root": "str_rootDirTemplate", "study": "str_studyDirTemplate", "series": "str_seriesDirTemplate",
    "image": "str_imageTemplate",
}  # fmt: skip
_SOURCES = ("str_xcrdir", "str_xcrfile", "str_xcrdirfile", "str_filesubstr")


def args_impedanceMatch(ns_arg: Namespace) -> Namespace:
    """Fill in what a namespace lacks: the path templates of px-repack, and empty sources."""
    for part, name in _PARTS.items():
        if not hasattr(ns_arg, name):
            setattr(ns_arg, name, getattr(PYPX_TEMPLATES, part))
    for name in _SOURCES:
        if not hasattr(ns_arg, name):
            setattr(ns_arg, name, "")
    return ns_arg


class Process:
    """Repacks what its arguments name, as px-repack does."""

    def __init__(self, args: Namespace) -> None:
        self.args = args

    def run(self) -> Document:
        """File it; the document of px-repack."""
        return legacy_repack.run(make_call(self.args)).document

    def packPath_resolve(self, d_DICOMfile_read: Mapping[str, Any]) -> Document:
        """Where an image of these tags goes: ``packDir``, three folders, and ``imageFile``."""
        texts = {
            part: str(getattr(self.args, name, "") or getattr(PYPX_TEMPLATES, part)) for part, name in _PARTS.items()
        }
        path = pack_path(Templates(**texts), _tags(d_DICOMfile_read["d_DICOM"]))
        return {"status": True, "packDir": str(path.directory), "imageFile": path.image}

    def tagsInString_process(self, d_DICOM: Mapping[str, Any], astr: str, *_args: Any, **_kwargs: Any) -> Document:
        """A text with its ``%Keyword`` and functions replaced; not made fit for a file name."""
        template = parse_template(astr)
        return {
            "status": True,
            "b_tagsFound": bool(template.keywords()),
            "str_result": template.render(_tags(d_DICOM)),
        }

    @staticmethod
    def DICOMfile_read(*_args: Any, **kwargs: Any) -> Document:
        """The tags of ``file=`` that px records: ``d_DICOM`` with ``d_dicomSimple``, keyword to text."""
        path = Path(str(kwargs.get("file", "")))
        document: Document = {
            "method": "DICOMfile_read",
            "status": False,
            "inputPath": str(path.parent),
            "inputFileName": path.name,
            "d_DICOM": {"str_dicomFile": str(path), "d_dicomSimple": {}, "l_tagRaw": [], "l_tagsUsed": []},
        }
        try:
            instance = read_instance(path, frozenset(RECORDED_KEYS) | PYPX_TEMPLATES.keywords())
        except (PxError, OSError) as error:
            return {**document, "error": str(error)}
        tags = dict(instance.tags)
        return {
            **document,
            "status": True,
            "d_DICOM": {**document["d_DICOM"], "d_dicomSimple": tags, "l_tagRaw": list(tags)},
        }


def _tags(d_DICOM: Mapping[str, Any]) -> dict[str, str]:
    """Keyword to text, from the dictionary that `DICOMfile_read` makes or from the tags themselves."""
    simple = d_DICOM.get("d_dicomSimple", d_DICOM)
    return {str(name): str(value) for name, value in simple.items()}


__all__ = ["Process", "args_impedanceMatch"]
