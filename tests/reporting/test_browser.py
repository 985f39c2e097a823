"""The report in a real browser: its script runs without an error, and a click on a heading sorts the cases."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from kidney_lab.reporting.html import write_report

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

pytestmark = [
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--enable-logging=stderr",
    "--v=0",
    "--virtual-time-budget=2000",
    "--dump-dom",
)


def open_page(path: Path, profile: Path) -> tuple[str, list[str]]:
    """Returns the page after its scripts have run, and what they wrote to the console."""
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", path.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    return done.stdout, [line for line in done.stderr.splitlines() if "CONSOLE" in line]


def case_order(dom: str) -> list[str]:
    return re.findall(r'<th scope="row" data-value="(case_\d+)"', dom)


@pytest.fixture
def report(make_run, tmp_path: Path) -> Path:
    return write_report([make_run()], tmp_path / "out").html


def test_page_opens_without_a_console_message_and_has_its_plots(report: Path, tmp_path: Path):
    dom, console = open_page(report, tmp_path / "profile")
    assert console == []
    assert len(re.findall(r'<svg [^>]*class="plot"', dom)) == 4
    assert case_order(dom) == ["case_00002", "case_00003", "case_00001", "case_00004"]


@pytest.mark.parametrize(
    ("clicks", "order", "direction"),
    [
        ([3], [1, 3, 2, 4], "descending"),  # ascending by Dice of the tumor before: a click turns it round
        ([0], [1, 2, 3, 4], "ascending"),
        ([0, 0], [4, 3, 2, 1], "descending"),
        ([0, 3], [2, 3, 1, 4], "ascending"),
    ],
)
def test_click_on_a_heading_sorts_with_undefined_values_last(report: Path, tmp_path: Path, clicks, order, direction):
    click = "".join(f'document.querySelectorAll("#case-table thead button")[{index}].click();' for index in clicks)
    clicked = report.with_name("clicked.html")
    clicked.write_text(report.read_text().replace("</body>", f"<script>{click}</script></body>"))
    dom, console = open_page(clicked, tmp_path / "profile")
    assert console == []
    assert case_order(dom) == [f"case_{number:05d}" for number in order]
    assert re.findall(r'<th [^>]*aria-sort="(\w+)"', dom)[clicks[-1]] == direction
