"""What is written beside a label map, and how."""

import logging
from dataclasses import dataclass, fields

from kidney_lab.data.dicom_series import Series
from kidney_lab.errors import InputError
from kidney_lab.export.dicom_seg import Algorithm, write_segmentation
from kidney_lab.export.measurements import measure, measurements_frame, write_measurements
from kidney_lab.export.overlay import save_overlay
from kidney_lab.export.probabilities import RegionProbabilities, write_probabilities
from kidney_lab.geometry import Volume
from kidney_lab.tasks.predict_plan import Job

SUFFIXES = {
    "dicom_seg": ".seg.dcm",
    "overlay": ".overlay.png",
    "measurements": ".measurements.csv",
    "probabilities": ".probabilities.npz",
}

log = logging.getLogger(__name__)


@dataclass(frozen=True, eq=False)
class Made:
    """What outputs are made of.

    Args:
        image: the scan, HU in its own orientation.
        labels: on its grid.
        series: that it was read from; None: it is no DICOM.
        probabilities: in memory order; None: not asked for.
    """

    image: Volume
    labels: Volume
    series: Series | None
    probabilities: RegionProbabilities | None


@dataclass(frozen=True)
class Outputs:
    """What is asked for beside the label maps; fields as the keys of `predict`.

    Args:
        dicom_seg: a DICOM-SEG file beside DICOM input.
        overlay: a picture of slices with outlines.
        measurements: a table of volumes, diameters and sides.
        probabilities: probabilities of the regions before post-processing, float16, in the box that holds any.
    """

    dicom_seg: bool = True
    overlay: bool = True
    measurements: bool = True
    probabilities: bool = False

    def of(self, job: Job) -> list[str]:
        """Names of the outputs that a scan is to have."""
        asked = [field.name for field in fields(self) if getattr(self, field.name)]
        return [name for name in asked if name != "dicom_seg" or job.scan.kind == "dicom"]

    def write(self, job: Job, made: Made, algorithm: Algorithm) -> dict[str, str]:
        """Writes them; each file appears whole or not at all.

        Args:
            job: of the scan.
            made: of it.
            algorithm: that segmented it.

        Returns:
            By the name of an output that the scan cannot have, the reason.
        """
        left_out = {}
        asked = self.of(job)
        if "overlay" in asked:
            save_overlay(job.beside(SUFFIXES["overlay"]), made.image, made.labels, name=job.scan.name)
        if "measurements" in asked:
            frame = measurements_frame({job.scan.name: measure(made.labels)})
            write_measurements(job.beside(SUFFIXES["measurements"]), frame)
        if made.probabilities is not None:
            turned = made.probabilities.reoriented(made.image.grid.orientation)
            write_probabilities(job.beside(SUFFIXES["probabilities"]), turned)
        if made.series is not None and "dicom_seg" in asked:
            reason = _write_dicom(job, made.labels, made.series, algorithm)
            if reason is not None:
                left_out["dicom_seg"] = reason
        return left_out


def _write_dicom(job: Job, labels: Volume, series: Series, algorithm: Algorithm) -> str | None:
    """Writes the label map as DICOM-SEG too, or says why there cannot be one."""
    try:
        written = write_segmentation(job.beside(SUFFIXES["dicom_seg"]), labels, series, algorithm)
    except InputError as error:
        log.warning("%s: no DICOM-SEG. %s", job.scan.name, error)
        return str(error)
    return None if written else "the label map is empty"
