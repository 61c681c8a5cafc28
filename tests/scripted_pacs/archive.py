"""What the PACS holds: patients, studies, series and instances, as plain records that a seed makes."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

LEVELS = ("PATIENT", "STUDY", "SERIES", "IMAGE")


@dataclass(frozen=True, slots=True)
class Instance:
    """A CT image of 16 x 16; its pixels follow from its UID."""

    SOPInstanceUID: str
    InstanceNumber: int


@dataclass(frozen=True, slots=True)
class Series:
    SeriesInstanceUID: str
    SeriesNumber: int
    SeriesDescription: str
    instances: tuple[Instance, ...]
    Modality: str = "CT"

    @property
    def uids(self) -> tuple[str, ...]:
        """SOP Instance UIDs in the order in which they are sent."""
        return tuple(instance.SOPInstanceUID for instance in self.instances)


@dataclass(frozen=True, slots=True)
class Study:
    StudyInstanceUID: str
    StudyDate: str
    StudyTime: str
    AccessionNumber: str
    StudyDescription: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Patient:
    PatientID: str
    PatientName: str
    PatientBirthDate: str
    PatientSex: str
    studies: tuple[Study, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """A place in the archive: a patient, or what belongs to one, down to the level that was asked for."""

    patient: Patient
    study: Study | None = None
    series: Series | None = None
    instance: Instance | None = None


@dataclass(frozen=True, slots=True)
class Archive:
    """All patients; order is the order of answers and of sub-operations."""

    patients: tuple[Patient, ...] = ()

    def studies(self) -> tuple[Study, ...]:
        return tuple(study for patient in self.patients for study in patient.studies)

    def series(self) -> tuple[Series, ...]:
        return tuple(series for study in self.studies() for series in study.series)

    def instances(self) -> tuple[Instance, ...]:
        return tuple(instance for series in self.series() for instance in series.instances)

    def study_of(self, SeriesInstanceUID: str) -> Study:
        """The study that holds a series; KeyError if none does."""
        for study in self.studies():
            if any(series.SeriesInstanceUID == SeriesInstanceUID for series in study.series):
                return study
        raise KeyError(SeriesInstanceUID)

    def entries(self, level: str) -> Iterator[Entry]:
        """Everything at a level of the query model, PATIENT to IMAGE."""
        depth = LEVELS.index(level)
        for patient in self.patients:
            if depth == 0:
                yield Entry(patient)
                continue
            for study in patient.studies:
                if depth == 1:
                    yield Entry(patient, study)
                    continue
                for series in study.series:
                    if depth == 2:
                        yield Entry(patient, study, series)
                    else:
                        yield from (Entry(patient, study, series, instance) for instance in series.instances)


def made_uid(*parts: object) -> str:
    """A UID under 2.25 (PS3.5 B.2), the same for the same parts."""
    digest = hashlib.sha256("/".join(map(str, ("scripted", *parts))).encode()).digest()
    return f"2.25.{int.from_bytes(digest[:16], 'big')}"


def make_archive(
    seed: int | str = 0,
    *,
    patients: int = 1,
    studies: int = 1,
    series: int = 1,
    instances: int | tuple[int, int] = 4,
) -> Archive:
    """So many patients, studies each, series each and instances each; a pair draws their number from that range.

    The same arguments give the same archive.  Study dates lie in 2020 to 2023, ascending within a patient.
    """
    rng = random.Random(f"archive/{seed}")
    return Archive(tuple(_patient(rng, f"{seed}/{p}", p, studies, series, instances) for p in range(patients)))


def _patient(
    rng: random.Random, key: str, number: int, studies: int, series: int, instances: int | tuple[int, int]
) -> Patient:
    days = sorted(rng.randrange(4 * 336) for _ in range(studies))
    return Patient(
        PatientID=f"SP-{number + 1:04d}",
        PatientName=f"{rng.choice(('Able', 'Baker', 'Clark', 'Dyer'))}^Test{number + 1:04d}",
        PatientBirthDate=f"{1930 + rng.randrange(80)}{1 + rng.randrange(12):02d}{1 + rng.randrange(28):02d}",
        PatientSex=rng.choice("FMO"),
        studies=tuple(
            Study(
                StudyInstanceUID=made_uid(key, s),
                StudyDate=f"{2020 + day // 336}{1 + day % 336 // 28:02d}{1 + day % 28:02d}",
                StudyTime=f"{rng.randrange(24):02d}{rng.randrange(60):02d}00",
                AccessionNumber=f"ACC{number:04d}{s:04d}",
                StudyDescription=f"Study {s + 1}",
                series=tuple(_series(rng, f"{key}/{s}/{n}", n, instances) for n in range(series)),
            )
            for s, day in enumerate(days)
        ),
    )


def _series(rng: random.Random, key: str, number: int, instances: int | tuple[int, int]) -> Series:
    count = instances if isinstance(instances, int) else rng.randint(*instances)
    return Series(
        SeriesInstanceUID=made_uid(key),
        SeriesNumber=number + 1,
        SeriesDescription=f"Series {number + 1}",
        instances=tuple(Instance(made_uid(key, i), i + 1) for i in range(count)),
    )
