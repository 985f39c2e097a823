"""Views: how training samples are read out of the store."""

from kidney_lab.data.views.boxes import AIR_HU, read_box
from kidney_lab.data.views.datasets import ViewDataset, WholeCaseDataset
from kidney_lab.data.views.patches import PatchView
from kidney_lab.data.views.roi import RoiView
from kidney_lab.data.views.slice_roi import SliceRoiView
from kidney_lab.data.views.slices import SliceView
from kidney_lab.data.views.view import View

__all__ = [
    "AIR_HU",
    "PatchView",
    "RoiView",
    "SliceRoiView",
    "SliceView",
    "View",
    "ViewDataset",
    "WholeCaseDataset",
    "read_box",
]
