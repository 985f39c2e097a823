"""The report in a real browser: no error, plots that speak, slices that move, a table that sorts, a narrow screen."""

import html
import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from kidney_lab.reporting.contents import Choices
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
    "--virtual-time-budget=8000",
    "--dump-dom",
)

HELPERS = """
const all = (selector) => [...document.querySelectorAll(selector)];
const one = (selector) => document.querySelector(selector);
const until = async (test) => { while (!test()) await new Promise((done) => setTimeout(done, 20)); };
const press = (target, key) => target.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true }));
const cases = () => all("#case-table tbody th").map((cell) => cell.textContent);
document.documentElement.style.scrollBehavior = "auto";
"""


def ask(page: Path, script: str, profile: Path) -> Any:
    """Runs the body of an asynchronous function in a page, and returns what it returns; nothing may be logged."""
    asked = page.with_name("asked.html")
    wrapped = f"(async () => {{{HELPERS}{script}}})().then((answer) => document.title = JSON.stringify(answer))"
    before, after = page.read_text().rsplit("</body>", 1)
    asked.write_text(f"{before}<script>{wrapped}</script></body>{after}")
    command = [str(CHROMIUM), *FLAGS, f"--user-data-dir={profile}", asked.as_uri()]
    done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=True)
    assert [line for line in done.stderr.splitlines() if "CONSOLE" in line] == []
    found = re.search(r"<title>(.*?)</title>", done.stdout, re.DOTALL)
    assert found is not None
    return json.loads(html.unescape(found[1]))


@pytest.fixture
def report(make_run_with_scans, tmp_path: Path) -> Path:
    """Of two runs, whose label maps lie beside each other."""
    other = {"case_00001": 0.8, "case_00002": 0.4, "case_00003": 0.75, "case_00004": float("nan")}
    runs = [
        make_run_with_scans("a", shift=1, overrides=["seed=0"]),
        make_run_with_scans("b", shift=6, dice=other, overrides=["seed=1"]),
    ]
    return write_report(runs, tmp_path / "out", Choices(pictures=True)).html


def test_every_plot_is_drawn_and_click_on_a_heading_sorts_with_undefined_values_last(make_run, tmp_path: Path):
    page = write_report([make_run()], tmp_path / "out").html
    answer = ask(
        page,
        """
        const boxes = all("svg.plot").map((plot) => [...plot.querySelectorAll(".dot, .line")].map((shape) => {
          const { width, height } = shape.getBoundingClientRect();
          return Math.max(width, height);
        }));
        const orders = [cases()];
        for (const heading of [3, 0, 0, 3]) {
          all("#case-table thead button")[heading].click();
          orders.push([...cases(), all("#case-table thead th")[heading].getAttribute("aria-sort")]);
        }
        one("#case-filter").value = "00003";
        one("#case-filter").dispatchEvent(new Event("input"));
        return { boxes, orders, left: all("#case-table tbody tr").filter((row) => !row.hidden).length };
        """,
        tmp_path / "profile",
    )
    assert len(answer["boxes"]) >= 5
    assert all(shapes and min(shapes) > 0 for shapes in answer["boxes"])
    assert answer["orders"] == [
        [f"case_{number:05d}" for number in order] + direction
        for order, direction in (
            ([2, 3, 1, 4], []),  # worst first, by Dice of the tumor
            ([1, 3, 2, 4], ["descending"]),  # a click turns it round
            ([1, 2, 3, 4], ["ascending"]),
            ([4, 3, 2, 1], ["descending"]),
            ([2, 3, 1, 4], ["ascending"]),
        )
    ]
    assert answer["left"] == 1


def test_slices_move_and_masks_are_filled_outlined_or_hidden(report: Path, tmp_path: Path):
    answer = ask(
        report,
        """
        const viewer = one(".viewer");
        const [canvas, slider] = [viewer.querySelector("canvas"), viewer.querySelector("input")];
        const [reference, prediction] = viewer.querySelectorAll("[data-mask]");
        viewer.scrollIntoView();
        const pixels = (...box) => {
          const copy = Object.assign(document.createElement("canvas"), { width: canvas.width, height: canvas.height });
          const context = copy.getContext("2d", { willReadFrequently: true });
          context.drawImage(canvas, 0, 0);
          return [...context.getImageData(...box).data];
        };
        // what is at a voxel of the scan, of which the picture shows columns 0 to 60 and rows 0 to 40
        const at = (row, column) => pixels(
          Math.round((column + 0.5) * canvas.width / 60), Math.round((row + 0.5) * canvas.height / 40), 1, 1);
        const sum = () => pixels(0, 0, canvas.width, canvas.height)
          .reduce((sum, value) => (sum * 31 + value) % 1000003, 0);
        const after = async (act) => {
          const before = sum();
          act();
          await until(() => sum() !== before);
          return viewer.querySelector(".place").textContent;
        };
        const choose = (select, way) => () => {
          select.value = way;
          select.dispatchEvent(new Event("change"));
        };
        await until(() => viewer.dataset.drawn);
        const answer = { ratio: canvas.width / canvas.height, opened: viewer.querySelector(".place").textContent };
        answer.filled = at(17, 27);
        answer.key = await after(() => press(slider, "ArrowDown"));
        answer.home = await after(() => press(slider, "Home"));
        answer.wheel = await after(() => canvas.dispatchEvent(new WheelEvent("wheel", { deltaY: 100 })));
        answer.slid = await after(() => { slider.value = 9; slider.dispatchEvent(new Event("input")); });
        answer.spoken = slider.getAttribute("aria-valuetext");
        await after(choose(reference, "hidden"));
        answer.hidden = at(17, 27);
        await after(choose(prediction, "filled"));
        answer.predicted = at(17, 27);
        await after(() => press(slider, "m"));
        answer.other = viewer.querySelector("[data-method]").selectedOptions[0].textContent;
        answer.moved = at(17, 27);
        return answer;
        """,
        tmp_path / "profile",
    )
    assert answer["ratio"] == pytest.approx(60 / 40)
    assert [answer[step] for step in ("opened", "key", "home", "wheel", "slid", "spoken")] == [
        "Slice 10 of 16",
        "Slice 11 of 16",
        "Slice 1 of 16",
        "Slice 2 of 16",
        "Slice 10 of 16",
        "Slice 10 of 16",
    ]
    red, _, blue, _ = answer["filled"]
    assert red > blue + 30  # the tumor's colour over gray
    assert max(answer["hidden"][:3]) - min(answer["hidden"][:3]) <= 3
    assert answer["predicted"][0] > answer["predicted"][2] + 30
    assert answer["other"].startswith("unet3d-kits19 (seed=1)")
    assert answer["moved"][2] > answer["moved"][0] + 10  # six columns beside the tumor: kidney


def test_dots_speak_lead_to_their_case_and_legends_hide_runs(report: Path, tmp_path: Path):
    answer = ask(
        report,
        """
        const plot = one("#distribution svg.plot");
        const [tip, run] = [one(".tip"), "unet3d-kits19 (seed=1)"];
        const dot = [...plot.querySelectorAll(".dot[data-case='case_00002']")]
          .find((shape) => shape.closest("[data-run]").dataset.run === run);
        const answer = { titles: all("svg.plot title").length, silent: tip.textContent };
        plot.focus();
        press(plot, "ArrowRight");
        answer.first = tip.textContent;
        press(plot, "Escape");
        answer.escaped = tip.textContent;
        dot.dispatchEvent(new PointerEvent("pointerover", { bubbles: true, pointerType: "mouse" }));
        answer.hovered = tip.textContent;
        const box = tip.getBoundingClientRect();
        answer.inside = box.left >= 0 && box.right <= innerWidth && box.height > 0;
        dot.dispatchEvent(new PointerEvent("click", { bubbles: true, pointerType: "mouse" }));
        const row = one("#case-table tr.chosen");
        answer.chosen = [row.dataset.case, row.dataset.run];
        answer.focused = document.activeElement.id;
        await until(() => one(".viewer").dataset.drawn);
        answer.method = one(".viewer [data-method]").value;
        const entry = all("#distribution .legend button").find((button) => button.textContent.trim() === run);
        const seen = () => all("#distribution [data-run]").filter(
          (part) => part.matches("g") && part.dataset.run === run && part.getBoundingClientRect().width > 0).length;
        answer.seen = [seen()];
        for (const _ of [0, 1]) {
          entry.click();
          answer.seen.push(seen());
        }
        answer.pressed = entry.getAttribute("aria-pressed");
        return answer;
        """,
        tmp_path / "profile",
    )
    assert (answer["titles"], answer["silent"], answer["escaped"]) == (0, "", "")  # no second tooltip by the browser
    assert re.fullmatch(r"unet3d-kits19 \(seed=0\), case_0000\d: 0\.\d{3}", answer["first"])
    assert re.fullmatch(r"unet3d-kits19 \(seed=1\), case_00002: 0\.\d{3}", answer["hovered"])
    assert answer["inside"]
    assert answer["chosen"] == ["case_00002", "unet3d-kits19 (seed=1)"]
    assert (answer["focused"], answer["method"]) == ("slices-case_00002", "unet3d-kits19 (seed=1)")
    before, hidden, shown = answer["seen"]
    assert before == shown > hidden == 0
    assert answer["pressed"] == "true"


def test_a_phone_shows_the_page_without_scrolling_sideways(report: Path, tmp_path: Path):
    frame = report.with_name("phone.html")
    inner = html.escape(report.read_text(), quote=True)
    frame.write_text(f'<title></title><body><iframe width="400" height="800" srcdoc="{inner}"></iframe></body>')
    answer = ask(
        frame,
        """
        await until(() => one("iframe").contentDocument?.readyState === "complete");
        const page = one("iframe").contentDocument.documentElement;
        return [page.clientWidth, page.scrollWidth];
        """,
        tmp_path / "profile",
    )
    width, needed = answer
    assert width <= 400
    assert needed <= width
