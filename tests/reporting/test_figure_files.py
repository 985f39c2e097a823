import pytest
from matplotlib.figure import Figure
from PIL import Image

from kidney_lab.reporting.figure_files import save_figure


@pytest.fixture
def figure():
    figure = Figure(figsize=(170 / 25.4, 2))
    figure.text(0.5, 0.5, "Dice")
    return figure


def test_files_are_for_print(figure, tmp_path):
    png, pdf = save_figure(tmp_path / "figures", "panels", figure, title="Panels of own/t")

    assert (png, pdf) == (tmp_path / "figures" / "panels.png", tmp_path / "figures" / "panels.pdf")
    with Image.open(png) as image:
        assert image.size == pytest.approx((170 / 25.4 * 300, 600), abs=1)
        assert image.info["dpi"] == pytest.approx((300, 300), abs=0.1)
    content = pdf.read_bytes()
    assert content.startswith(b"%PDF")
    assert b"/Type3" not in content  # fonts are embedded as TrueType, which journals ask for
    assert b"/FontFile2" in content
    assert sorted(path.name for path in tmp_path.joinpath("figures").iterdir()) == ["panels.pdf", "panels.png"]


@pytest.mark.parametrize("title", [None, "Panels of own/t"])
def test_files_tell_their_title_and_nothing_of_what_wrote_them(figure, tmp_path, title):
    png, pdf = save_figure(tmp_path, "panels", figure, title=title)

    with Image.open(png) as image:
        assert image.text == ({} if title is None else {"Title": title})
    content = pdf.read_bytes()
    assert not any(key in content for key in (b"/Creator", b"/Producer", b"/CreationDate"))
    assert (b"(Panels of own/t)" in content) == (title is not None)
