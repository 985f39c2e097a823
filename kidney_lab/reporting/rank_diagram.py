"""Critical-difference diagram: average ranks on an axis, with a bar over methods that no test tells apart.

As in Fig. 1 of J. Demsar, JMLR 7 (2006); what the bars say is in `kidney_lab.reporting.rank_tests`.
"""

from typing import Final

from kidney_lab.reporting import svg
from kidney_lab.reporting.boxes import add_name, name_lines
from kidney_lab.reporting.formatting import p_value
from kidney_lab.reporting.plots import WIDTH
from kidney_lab.reporting.rank_tests import LEVEL, RankTests
from kidney_lab.wording import counted

_SIDE: Final = 180.0  # room for names, in SVG units
_LETTERS: Final = 17  # of a line of a name, which the rank follows
_ROW, _BAR = 32.0, 10.0


def rank_diagram(found: RankTests, title: str) -> str:
    """Draws ranks and cliques.

    Args:
        found: ranks and tests.
        title: of the score that is ranked.

    Returns:
        SVG; the best rank is at the right, as in the paper.
    """
    names = list(found.ranks)
    axis = svg.Span(float(len(names)), 1.0, _SIDE, WIDTH - _SIDE)
    top = 62.0
    first_row = top + 22 + _BAR * len(found.cliques)
    half = len(names) // 2
    height = first_row + _ROW * max(half, len(names) - half)
    label = f"Average ranks by {title}: {', '.join(f'{name} {rank:.2f}' for name, rank in found.ranks.items())}"
    picture = svg.picture(WIDTH, height, label)
    svg.add(
        picture, "text", f"Average rank by {title} (1 is best)", kind="axis", x=WIDTH / 2, y=16, text_anchor="middle"
    )
    svg.add(picture, "line", kind="rule", x1=axis.start, x2=axis.end, y1=top, y2=top)
    for place in range(1, len(names) + 1):
        svg.add(picture, "line", kind="rule", x1=axis(place), x2=axis(place), y1=top - 6, y2=top)
        svg.add(picture, "text", str(place), kind="tick", x=axis(place), y=top - 12, text_anchor="middle")
    for index, (name, rank) in enumerate(found.ranks.items()):
        is_right = index < half  # the best, from the top; the worst at the left from the top
        y = first_row + _ROW * (index if is_right else len(names) - 1 - index) + 8
        side, anchor, inside = (WIDTH - _SIDE + 8, "start", 6) if is_right else (_SIDE - 8, "end", -6)
        group = svg.add(picture, "g", data_run=name)
        path = f"{axis(rank)},{top} {axis(rank)},{y} {side},{y}"
        svg.add_hint(svg.add(group, "polyline", kind="rule hint", points=path), f"{name}: average rank {rank:.2f}")
        *first, last = name_lines(name, _LETTERS)
        add_name(group, [*first, f"{last} ({rank:.2f})"], x=side + inside, y=y, anchor=anchor)
    for level, (best, worst) in enumerate(found.cliques):
        y = top + 12 + _BAR * level
        left, right = axis(found.ranks[worst]) - 4, axis(found.ranks[best]) + 4
        bar = svg.add(picture, "line", kind="clique hint", x1=left, x2=right, y1=y, y2=y)
        svg.add_hint(bar, f"No pair differs from {best} to {worst}")
    return svg.markup(picture)


def caption(found: RankTests) -> str:
    """Says what was tested, and what the bars mean."""
    friedman = f"Friedman's test over {found.n_cases} cases: χ² = {found.chi2:.2f}, p = {p_value(found.p)}."
    friedman = friedman.replace("= <", "< ")
    left_out = f" Left out for an undefined value: {counted(found.n_left_out, 'case')}." if found.n_left_out else ""
    if not found.pairs:
        meaning = "Friedman's test finds no difference, so that no pair is tested and one bar joins all."
    else:
        meaning = (
            "A bar joins neighbours of which no pair differs by Wilcoxon's signed-rank test, p corrected by Holm over "
            f"all {len(found.pairs)} pairs, at the level {LEVEL:g}."
        )
    return f"{friedman}{left_out} {meaning}"
