import pytest

from kidney_lab.networks.attention_vnet_parameters import SWITCHES, parameter_counts

NORM_AND_SLOPES = 3
"""Parameters a channel of instance normalisation (2) and PReLU (1)."""


def two_convolutions(before: int, n: int) -> int:
    return 27 * n * (before + n) + 2 * NORM_AND_SLOPES * n


def expected(
    channels: list[int],
    on: tuple[str, ...],
    *,
    stem: bool = True,
    beside: bool = False,
    in_channels: int = 1,
    classes: int = 3,
) -> int:
    """The network's parameters, counted by hand."""
    *levels, bottom = channels
    first = levels[0] if stem else in_channels
    total = two_convolutions(bottom, bottom) + classes * (levels[0] + 1)
    if stem:
        total += 4 * levels[0] * (in_channels + levels[0]) + 2 * NORM_AND_SLOPES * levels[0]
    for before, n, deeper in zip([first, *levels[1:]], levels, channels[1:], strict=True):
        total += two_convolutions(before, n) + two_convolutions(2 * n, n)
        total += 8 * n * deeper + NORM_AND_SLOPES * deeper  # down
        total += 8 * deeper * n + NORM_AND_SLOPES * n  # up
        if "shortcut" in on and beside:  # more channels on the way down, and more for the next convolution
            total += (deeper // 2) * (n + NORM_AND_SLOPES + 27 * deeper)
        elif "shortcut" in on:
            total -= 7 * n * (deeper // 2)
        if "channel_attention" in on:
            total += 2 * n * max(1, n // 16) + n + max(1, n // 16)
        if "spatial_attention" in on:
            total += 3
        if "fusion" in on:
            total += sum((level + 1) * (level // 2) for level in levels) + n * sum(level // 2 for level in levels)
    return total + ("boundary_head" in on) * (levels[0] + 1)


@pytest.mark.parametrize("base", [32, 23])
@pytest.mark.parametrize("stem", [True, False])
@pytest.mark.parametrize("join", ["split", "beside"])
def test_every_switch_counts_as_by_hand(base: int, stem: bool, join: str) -> None:
    channels = [base * 2**n for n in range(5)]
    counts = parameter_counts(channels=channels, stem_stride=(1, 2, 2) if stem else (1, 1, 1), shortcut_join=join)
    cases = {"none": (), "all": SWITCHES} | {switch: (switch,) for switch in SWITCHES}
    assert counts == {name: expected(channels, on, stem=stem, beside=join == "beside") for name, on in cases.items()}


def test_the_residual_sums_have_no_parameters() -> None:
    assert parameter_counts(residual=True) == parameter_counts(residual=False)


def test_the_readme_figures_beside_the_papers_31_2_and_14_8_millions() -> None:
    counts = parameter_counts()
    assert counts["none"] == pytest.approx(28.7e6, abs=0.05e6)
    assert counts["all"] == pytest.approx(28.4e6, abs=0.05e6)
    assert counts["fusion"] - counts["none"] == pytest.approx(0.29e6, abs=0.005e6)  # the paper's 2.1 million
    beside = parameter_counts(shortcut_join="beside")
    assert beside["shortcut"] - beside["none"] == pytest.approx(4.79e6, abs=0.005e6)  # the paper's 4.7 million
    assert parameter_counts(channels=[23 * 2**n for n in range(5)])["none"] == pytest.approx(14.8e6, abs=0.05e6)
