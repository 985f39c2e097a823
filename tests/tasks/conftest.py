"""Fixtures that tests of tasks share with others: the web server of the downloads' tests.

Folders of tests are no packages, so that pytest imports each file by its path; this does the same.
"""

import importlib.util
from pathlib import Path

_path = Path(__file__).parents[1] / "data" / "download" / "conftest.py"
_spec = importlib.util.spec_from_file_location("download_fixtures", _path)
_shared = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(_shared)

server, challenge, scan, mask = _shared.server, _shared.challenge, _shared.scan, _shared.mask
