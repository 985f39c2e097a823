"""From one scan to its label map and what is written beside it."""

import logging

from kidney_lab.data.dicom import read_voxels
from kidney_lab.data.dicom_series import Series, find_series
from kidney_lab.data.nifti import write_volume
from kidney_lab.data.scans import Scan
from kidney_lab.export.probabilities import Gatherer
from kidney_lab.geometry import Volume, reorient
from kidney_lab.inference.cost import CaseCost, CostMeter
from kidney_lab.progress import stage_named, tell
from kidney_lab.tasks.predict_outputs import Made, Outputs
from kidney_lab.tasks.predict_plan import Job
from kidney_lab.tasks.predict_record import stamp_of, take_back, write_record
from kidney_lab.tasks.predict_runs import MadeBy

log = logging.getLogger(__name__)


def segment_scan(meter: CostMeter, job: Job, outputs: Outputs, made_by: MadeBy) -> CaseCost:
    """Reads, segments and writes one scan.

    Its record comes before the files, so that what an interruption leaves is known as its own when it is done again.

    Args:
        meter: of the method.
        job: the scan and its label map.
        outputs: what is written beside the label map.
        made_by: the runs of the method.

    Returns:
        What the segmentation took.

    Raises:
        InputError: the scan is broken, or its files may not be written.
    """
    take_back(job, made_by)
    stamp = stamp_of(job.scan)
    with stage_named("reading"):
        tell(0, 0)
        image, series = read_scan(job.scan)
    with stage_named("segmenting"):
        tell(0, 0)
        gatherer = Gatherer(meter.method.output) if outputs.probabilities else None
        segmentation, cost = meter.segment(image, str(job.scan.path), keep=False, observe=gatherer)
        probabilities = gatherer.gathered(segmentation.said.box, reorient(image).grid) if gatherer else None
    with stage_named("writing"):
        tell(0, 0)
        write_record(job, made_by, cost, stamp, {})
        write_volume(job.labels, segmentation.labels)
        made = Made(image, segmentation.labels, series, probabilities)
        left_out = outputs.write(job, made, made_by.algorithm)
        if left_out:
            write_record(job, made_by, cost, stamp, left_out)
    return cost


def read_scan(scan: Scan) -> tuple[Volume, Series | None]:
    """Reads a scan in Hounsfield units, with its series where it is DICOM.

    Raises:
        InputError: it is broken.
    """
    if scan.kind == "nifti":
        return scan.read(), None
    series = find_series(scan.path)
    for note in series.notes:
        log.warning(note)
    return read_voxels(series), series
