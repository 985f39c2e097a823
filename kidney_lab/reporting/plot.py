"""A plot of the report, as the page shows it and as a file for a paper holds it."""

from dataclasses import dataclass, field


@dataclass(frozen=True)
class Plot:
    """One picture.

    Args:
        name: of its files, unlike that of every other plot of the report.
        title: what it shows, of what data.
        svg: the picture, see `kidney_lab.reporting.svg`.
        caption: sentences on how to read it.
        legend: (index of the colour, name) of what is drawn.
        note: on the data, that a file must say; empty where there is nothing to say.
        repeats: whether the page shows the same run by run, so that only a file is made of this.
    """

    name: str
    title: str
    svg: str
    caption: str
    legend: list[tuple[int, str]] = field(default_factory=list)
    note: str = ""
    repeats: bool = False


@dataclass(frozen=True)
class PlotSet:
    """Plots of methods on the same data.

    Args:
        id: anchor in the page.
        title: names the table, or that these are runs, and the data.
        plots: with names unlike each other, and unlike those of other sets.
        legend: (index of the colour, name) of every method.
        caption: sentence on all of them; empty where there is nothing to say.
    """

    id: str
    title: str
    plots: list[Plot]
    legend: list[tuple[int, str]]
    caption: str = ""

    @property
    def in_page(self) -> list[Plot]:
        """Those that show more than the page has anyway."""
        return [plot for plot in self.plots if not plot.repeats]
