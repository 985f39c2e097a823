"""Fixtures that several folders of tests share."""

import kidney_lab  # isort: skip  # noqa: F401  first: its import hook must stand before anything imports torchvision

import os
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def shared_data():
    """Folder of real KiTS masks, a real CT and a real DICOM series; see CONTRIBUTING.md."""
    folder = Path(os.environ.get("KIDNEY_LAB_SHARED_DATA", ROOT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("no real data: set KIDNEY_LAB_SHARED_DATA to the folder that holds kits19, kits23 and ct")
    return folder
