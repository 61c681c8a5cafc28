"""The floor of repack with small files: what anyone would write in a quarter of an hour with pydicom.

Header up to the pixels, a folder by patient, study and series, a copy; one process, no record, nothing made durable.

    python benchmarks/loop.py SOURCE TARGET
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path

import pydicom


def main(source: Path, target: Path) -> int:
    count = 0
    for file in sorted(source.rglob("*.dcm")):
        header = pydicom.dcmread(file, stop_before_pixels=True)
        parts = (
            f"{header.PatientID}-{header.PatientName}-{header.PatientBirthDate}",
            f"{header.StudyDescription}-{header.AccessionNumber}-{header.StudyDate}",
            f"{int(header.SeriesNumber):05d}-{header.SeriesDescription}",
            f"{int(header.InstanceNumber):04d}-{header.SOPInstanceUID}.dcm",
        )
        place = target.joinpath(*(re.sub(r"[^A-Za-z0-9.-]+", "_", part) for part in parts))
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, place)
        count += 1
    return count


if __name__ == "__main__":
    print(main(Path(sys.argv[1]), Path(sys.argv[2])))
