"""Which format suits the store: memory-mapped npy, Zarr v3 or Blosc2, and in which chunks and blocks?

Writes one full-size volume (200 x 512 x 512 voxels; int16 Hounsfield units with the texture and the noise of a CT, and
a uint8 label map) in every candidate format and reads it as training does: random patches and single axial slices, one
thread, warm page cache. Prints a Markdown table; `docs/decisions.md` holds the one that the choice was made on.

    python benchmarks/store_formats.py [label.nii.gz]

The label map is a real KiTS one where a file is given, else two ellipsoids. Zarr is measured where it is installed.
"""

import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import blosc2
import nibabel as nib
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

SHAPE = (200, 512, 512)
PATCHES = {"128x128x128": (128, 128, 128), "32x48x48": (32, 48, 48), "slice": (1, 512, 512)}
READS = 24

Array = NDArray[Any]


@dataclass(frozen=True)
class Candidate:
    """One way to keep an array on disk.

    Args:
        name: row of the table.
        write: stores an array at a path.
        read: opens a path; the result is sliced like an array.
    """

    name: str
    write: Callable[[Array, Path], None]
    read: Callable[[Path], Any]


def blosc(
    chunks: tuple[int, int, int], blocks: tuple[int, int, int], codec: str, level: int, filter_: str
) -> Candidate:
    """Blosc2's b2nd in these chunks and blocks, read through a memory map."""
    cparams = blosc2.CParams(
        codec=blosc2.Codec[codec], clevel=level, filters=[blosc2.Filter[filter_]], filters_meta=[0], nthreads=1
    )
    size = " ".join("x".join(map(str, triple)) for triple in (chunks, blocks))

    def write(array: Array, path: Path) -> None:
        blosc2.asarray(array, chunks=chunks, blocks=blocks, cparams=cparams, urlpath=str(path), mode="w")

    def read(path: Path) -> Any:
        return blosc2.open(str(path), mode="r", mmap_mode="r", dparams=blosc2.DParams(nthreads=1))

    return Candidate(f"blosc2 {size} {codec.lower()}-{level} {filter_.lower()}", write, read)


def npy() -> Candidate:
    """A plain memory-mapped array."""

    def write(array: Array, path: Path) -> None:
        with path.open("wb") as file:
            np.save(file, array)

    return Candidate("npy, memory-mapped", write, lambda path: np.load(path, mmap_mode="r"))


def zarr_v3(chunks: tuple[int, int, int]) -> Candidate:
    """Zarr v3 on local files, one file a chunk, zstd behind a byte shuffle."""
    import zarr
    from zarr.codecs import BloscCodec

    def write(array: Array, path: Path) -> None:
        codec = BloscCodec(cname="zstd", clevel=1, shuffle="shuffle")
        stored = zarr.create_array(path, shape=array.shape, chunks=chunks, dtype=array.dtype, compressors=codec)
        stored[:] = array

    return Candidate(
        f"zarr v3 {'x'.join(map(str, chunks))} zstd-1 shuffle", write, lambda path: zarr.open_array(path, mode="r")
    )


def candidates() -> Iterator[Candidate]:
    """Every format, chunk shape and codec that is compared."""
    yield npy()
    if find_spec("zarr") is not None:
        yield zarr_v3((32, 64, 64))
        yield zarr_v3((64, 64, 64))
        yield zarr_v3((16, 128, 128))
    shapes = (
        ((64, 128, 128), (32, 32, 32)),
        ((64, 128, 128), (16, 64, 64)),
        ((64, 128, 128), (8, 64, 64)),
        ((32, 128, 128), (8, 32, 32)),
        ((16, 256, 256), (4, 64, 64)),
        ((16, 512, 512), (4, 64, 64)),
        ((16, 512, 512), (8, 64, 64)),
    )
    for chunks, blocks in shapes:
        yield blosc(chunks, blocks, "LZ4", 5, "SHUFFLE")
    for codec, level, filter_ in (
        ("LZ4", 5, "BITSHUFFLE"),
        ("ZSTD", 1, "SHUFFLE"),
        ("ZSTD", 1, "BITSHUFFLE"),
        ("ZSTD", 5, "BITSHUFFLE"),
    ):
        yield blosc((16, 512, 512), (4, 64, 64), codec, level, filter_)
        yield blosc((64, 128, 128), (8, 64, 64), codec, level, filter_)


def simulated_ct(rng: np.random.Generator) -> NDArray[np.int16]:
    """A body of smooth tissue in air with the correlated noise of a reconstruction, HU, `SHAPE`."""
    _, h, w = SHAPE
    rows, columns = np.ogrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
    body = (rows / 0.7) ** 2 + (columns / 0.85) ** 2 < 1
    coarse = ndimage.gaussian_filter(rng.normal(size=(50, 64, 64)).astype(np.float32), 2)
    tissue = ndimage.zoom(coarse / coarse.std(), (4, 8, 8), order=1, grid_mode=True, mode="nearest")
    image = np.where(body, 40 + 60 * tissue, -1000)
    noise = ndimage.gaussian_filter(rng.normal(size=SHAPE).astype(np.float32), (0, 0.7, 0.7))
    image += noise * (15 / noise.std()) * np.where(body, 1.0, 0.3)
    return np.rint(image).astype(np.int16)


def label_map(path: Path | None) -> NDArray[np.uint8]:
    """The real label map at `path`, cut or padded to `SHAPE`, else two ellipsoids."""
    if path is None:
        d, h, w = np.ogrid[0 : SHAPE[0], 0 : SHAPE[1], 0 : SHAPE[2]]
        kidneys = [((d - 100) / 60) ** 2 + ((h - 300) / 45) ** 2 + ((w - c) / 35) ** 2 < 1 for c in (150, 360)]
        return np.logical_or(*kidneys).astype(np.uint8)
    label = np.asarray(nib.load(path).dataobj, dtype=np.uint8)[tuple(slice(n) for n in SHAPE)]
    return np.pad(label, [(0, n - have) for n, have in zip(SHAPE, label.shape, strict=True)])


def read_ms(array: Any, size: tuple[int, int, int], reads: int = READS) -> float:
    """Median milliseconds to read a box of `size` at random places, after two reads to warm up."""
    rng = np.random.default_rng(0)
    times = []
    for _ in range(reads + 2):
        start = [int(rng.integers(0, n - m + 1)) for n, m in zip(SHAPE, size, strict=True)]
        box = tuple(slice(a, a + m) for a, m in zip(start, size, strict=True))
        began = time.perf_counter()
        np.array(array[box])
        times.append(time.perf_counter() - began)
    return 1000 * float(np.median(times[2:]))


def measure(candidate: Candidate, array: Array, folder: Path) -> list[str]:
    """One row of the table: write seconds, MiB on disk and the milliseconds of every kind of read."""
    path = folder / f"{len(list(folder.iterdir()))}.b2nd"
    began = time.perf_counter()
    candidate.write(array, path)
    seconds = time.perf_counter() - began
    files = [path] if path.is_file() else [f for f in path.rglob("*") if f.is_file()]
    size = sum(f.stat().st_size for f in files) / 2**20
    stored = candidate.read(path)
    return [
        candidate.name,
        f"{seconds:.2f}",
        f"{size:.1f}",
        *(f"{read_ms(stored, box):.2f}" for box in PATCHES.values()),
    ]


def main() -> None:
    """Prints one table for the image and one for the label."""
    label_path = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    for name, array in (
        ("image (int16)", simulated_ct(np.random.default_rng(0))),
        ("label (uint8)", label_map(label_path)),
    ):
        print(f"\n{name}, {array.nbytes / 2**20:.0f} MiB\n")
        print("| format | write s | MiB | " + " | ".join(f"{box} ms" for box in PATCHES) + " |")
        print("|---" * (3 + len(PATCHES)) + "|")
        for candidate in candidates():
            with tempfile.TemporaryDirectory() as folder:
                print("| " + " | ".join(measure(candidate, array, Path(folder))) + " |", flush=True)


if __name__ == "__main__":
    main()
