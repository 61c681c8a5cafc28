"""Receive images by `px listen`, against DCMTK's storescp that only writes them to a folder.

Both ends of a measurement are durable: the floor ends with `sync -f` of its folder, px with the last record in the
smdb and the same `sync -f`.  Senders run with TCP_NODELAY=1 in both cases.  Everything stays on 127.0.0.1.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import random
import shutil
import subprocess
import tempfile
import time
from array import array
from collections.abc import Iterator
from pathlib import Path

from bench import PX, SENDER_ENV, Pair, accepts, alternate, free_port, machine, spread, wait_for
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian

from pypx.services.process import find_program

SIZE = 512
BIT_STORED_MASK = 0x0FFF


def make_corpus(folder: Path, images: int, parts: int) -> list[Path]:
    """Write `images` CT slices of one study into `parts` folders, a series each; the same bytes every time."""
    noise = array("H", random.Random(4).randbytes(2 * SIZE * SIZE))
    pixels = array("H", (value & BIT_STORED_MASK for value in noise)).tobytes()
    for number in range(1, images + 1):
        part = number % parts
        target = folder / f"part{part}"
        target.mkdir(parents=True, exist_ok=True)
        dataset = Dataset()
        dataset.SOPClassUID = CTImageStorage
        dataset.SOPInstanceUID = f"1.2.826.0.1.3680043.8.498.9.{part + 1}.{number}"
        dataset.StudyInstanceUID = "1.2.826.0.1.3680043.8.498.9"
        dataset.SeriesInstanceUID = f"1.2.826.0.1.3680043.8.498.9.{part + 1}"
        dataset.PatientID, dataset.PatientName, dataset.PatientBirthDate = "BENCH", "Bench^Mark", "19700101"
        dataset.StudyDate, dataset.StudyDescription, dataset.AccessionNumber = "20240101", "Benchmark", "B1"
        dataset.Modality, dataset.SeriesNumber, dataset.SeriesDescription = "CT", part + 1, f"Part {part + 1}"
        dataset.InstanceNumber = number
        dataset.SamplesPerPixel, dataset.PhotometricInterpretation = 1, "MONOCHROME2"
        dataset.Rows = dataset.Columns = SIZE
        dataset.BitsAllocated, dataset.BitsStored, dataset.HighBit, dataset.PixelRepresentation = 16, 12, 11, 0
        dataset.PixelData = pixels
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID = dataset.SOPClassUID, dataset.SOPInstanceUID
        meta.TransferSyntaxUID = ExplicitVRLittleEndian
        dataset.file_meta = meta
        dataset.save_as(target / f"{number:05d}.dcm", enforce_file_format=True)
    return sorted(folder.iterdir())


def send(parts: list[Path], port: int) -> None:
    """Send each part over an association of its own, all at once; raise if a sender failed."""
    argv = [find_program("storescu"), "-aec", "PXBENCH", "+sd", "127.0.0.1", str(port)]
    senders = [subprocess.Popen([*argv, str(part)], env=SENDER_ENV) for part in parts]
    if any(sender.wait() != 0 for sender in senders):
        raise RuntimeError("a sender failed")


@contextlib.contextmanager
def server(argv: list[str], port: int) -> Iterator[None]:
    """Run a DICOM server until the block ends."""
    with subprocess.Popen(argv, env=SENDER_ENV, stderr=subprocess.DEVNULL) as process:
        try:
            wait_for(lambda: accepts(port), f"{argv[0]} on port {port}")
            yield
        finally:
            process.terminate()


def floor_run(parts: list[Path], scratch: Path) -> float:
    """Seconds for raw storescp to have all files on disk."""
    folder, port = scratch / "floor", free_port()
    folder.mkdir()
    options = ["--fork", "+B", "-pm", "+xa", "+uf", "-pdu", "131072", "-od", str(folder)]
    argv = [find_program("storescp"), *options, str(port)]
    with server(argv, port):
        start = time.perf_counter()
        send(parts, port)
        subprocess.run(["sync", "-f", str(folder)], check=True)
        seconds = time.perf_counter() - start
    shutil.rmtree(folder)
    return seconds


def recorded(basemount: Path) -> int:
    """How many image records the smdb holds."""
    return sum(log.read_bytes().count(b"\n") for log in basemount.glob("log/seriesData/*-img.jsonl"))


def px_run(parts: list[Path], images: int, scratch: Path) -> float:
    """Seconds for px listen to have all files filed and recorded on disk."""
    basemount, port = scratch / "px", free_port()
    argv = [PX, "listen", "--basemount", str(basemount), "--port", str(port), "--aet", "PXBENCH"]
    with server(argv, port):
        start = time.perf_counter()
        send(parts, port)
        wait_for(lambda: recorded(basemount) >= images, "records in the smdb")
        subprocess.run(["sync", "-f", str(basemount)], check=True)
        seconds = time.perf_counter() - start
    filed = sum(1 for path in (basemount / "data").rglob("*") if path.is_file())
    if filed != images:
        raise RuntimeError(f"px filed {filed} of {images} images")
    shutil.rmtree(basemount)
    return seconds


def measure(images: int, associations: int, pairs: int) -> list[Pair]:
    """Measure one row of the table: one unmeasured run of each, then the pairs."""
    with tempfile.TemporaryDirectory(prefix="px-bench-") as name:
        scratch = Path(name)
        parts = make_corpus(scratch / "corpus", images, associations)
        floor_run(parts, scratch)
        px_run(parts, images, scratch)
        return alternate(lambda: floor_run(parts, scratch), lambda: px_run(parts, images, scratch), pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--images", type=int, default=500)
    parser.add_argument("--associations", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--pairs", type=int, default=3)
    parser.add_argument("--json", type=Path, help="write the seconds of every run there")
    given = parser.parse_args()
    print(f"receive {given.images} images of {SIZE}x{SIZE}, 16 bit; {machine()}")
    print(f"{'associations':>12}  {'storescp, images/s':>28}  {'px listen, images/s':>28}  {'ratio':>20}")
    rows = {}
    for associations in given.associations:
        pairs = measure(given.images, associations, given.pairs)
        floor = spread([given.images / pair.floor_s for pair in pairs], 0)
        px = spread([given.images / pair.px_s for pair in pairs], 0)
        print(f"{associations:>12}  {floor:>28}  {px:>28}  {spread([pair.ratio for pair in pairs]):>20}", flush=True)
        rows[associations] = [[pair.floor_s, pair.px_s] for pair in pairs]
    if given.json:
        given.json.write_text(json.dumps({"images": given.images, "seconds": rows}, indent=2) + "\n")


if __name__ == "__main__":
    main()
