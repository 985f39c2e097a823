r"""Tables in LaTeX, with the rules of the package booktabs, to be put into a paper by `\input`."""

import re
from collections.abc import Iterable
from typing import Final

from kidney_lab.reporting.sections import TableSection

LONGEST: Final = 40
"""Rows of a floating table; one with more breaks over pages, by the package longtable."""
WIDEST: Final = 6
"""Columns of a floating table in letters of full size; one with more is made as wide as the text."""

_SPECIAL: Final = {
    **{mark: rf"\{mark}" for mark in "&%$#_{}"},
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": "$<$",
    ">": "$>$",
    "|": r"\textbar{}",
    "\N{EM DASH}": "--",
    "\N{UPWARDS ARROW}": r"$\uparrow$",
    "\N{DOWNWARDS ARROW}": r"$\downarrow$",
    "\N{RIGHTWARDS ARROW}": r"$\rightarrow$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "\N{PLUS-MINUS SIGN}": r"$\pm$",
    "\N{LESS-THAN OR EQUAL TO}": r"$\leq$",
    "\N{GREATER-THAN OR EQUAL TO}": r"$\geq$",
    "\N{DAGGER}": r"\textdagger{}",
    "\N{DOUBLE DAGGER}": r"\textdaggerdbl{}",
    "\N{SECTION SIGN}": r"\S{}",
}
_SIGNED: Final = re.compile(r"(?<![\w.)])[+-]\d+(?:\.\d+)?(?![\w.])")


def escaped(text: str) -> str:
    r"""Writes plain text so that LaTeX shows exactly that; signed numbers are set in mathematics, with a true minus.

    >>> escaped("a_b & 5 %"), escaped("-0.100 [-0.2, +0.1]")
    ('a\\_b \\& 5 \\%', '$-0.100$ [$-0.2$, $+0.1$]')
    """
    parts, last = [], 0
    for match in _SIGNED.finditer(text):
        parts += [_plain(text[last : match.start()]), f"${match[0]}$"]
        last = match.end()
    return "".join([*parts, _plain(text[last:])])


def section_latex(section: TableSection) -> str:
    """Writes a section as a table with caption and label.

    Args:
        section: with rows.

    Returns:
        LaTeX: words to the left, numbers to the right, the best values of a column bold, notes below the table; the
        list of tables has the title alone.
    """
    long = len(section.rows) > LONGEST
    wide = len(section.columns) > WIDEST and not long
    columns = ["l"] * section.n_words + ["r"] * (len(section.columns) - section.n_words)
    short, *rest = (escaped(text) for text in (f"{section.title}.", section.caption, *section.notes))
    # braces, since a bracket in the title would end the short caption
    caption = rf"\caption[{{{short.removesuffix('.')}}}]{{{' '.join([short, *rest])}}}"
    label = f"\\label{{tab:{section.id}}}"
    head = [r"\toprule", _row(escaped(title) for title in section.columns), r"\midrule"]
    body = _body(section)
    below = [rf"\par\smallskip\footnotesize {escaped(sentence)}" for sentence in section.explanations]
    if long:
        lines = [
            rf"\begin{{longtable}}{{{''.join(columns)}}}",
            rf"{caption}{label}\\",
            *head,
            r"\endhead",
            *body,
            r"\bottomrule",
            r"\end{longtable}",
            *(["{" + "\n".join(below) + r"\par}"] if below else []),
        ]
    else:
        lines = [
            r"\begin{table}",
            r"\centering",
            caption,
            label,
            *([r"\resizebox{\linewidth}{!}{%"] if wide else []),
            rf"\begin{{tabular}}{{{''.join(columns)}}}",
            *head,
            *body,
            r"\bottomrule",
            rf"\end{{tabular}}{'}' if wide else ''}",
            *below,
            r"\end{table}",
        ]
    packages = ["booktabs", *(["longtable"] if long else []), *(["graphicx"] if wide else [])]
    return "\n".join([rf"% needs \usepackage{{{','.join(packages)}}}", *lines, ""])


def _body(section: TableSection) -> list[str]:
    """Rows, with a little space where a group begins."""
    cells = section.lines(bold=lambda cell: rf"\textbf{{{escaped(cell)}}}", plain=escaped)
    lines = []
    for index, (row, line) in enumerate(zip(section.rows, cells, strict=True)):
        lines += [r"\addlinespace"] if index and row.kind == "group" else []
        lines.append(_row(line))
    return lines


def _row(cells: Iterable[str]) -> str:
    """A line of a table; in front of one that begins with a bracket the line above must not take it as its own."""
    line = " & ".join(cells)
    return ("{}" if line.startswith(("[", "*")) else "") + line + r" \\"


def _plain(text: str) -> str:
    return "".join(_SPECIAL.get(letter, letter) for letter in text)
