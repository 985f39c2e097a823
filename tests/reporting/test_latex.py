import re

import pytest

from kidney_lab.reporting.latex import LONGEST, escaped, section_latex
from kidney_lab.reporting.sections import TableRow, TableSection


def section(n=2, **changes):
    rows = [TableRow(f"run_{k} & more", 0, ["Tumor: Dice ↑", f"0.{k} [0.0, 0.9]", "-0.10"]) for k in range(n)]
    whole = {
        "id": "x-1",
        "title": "50 % of #1",
        "caption": "Means_of {all}.",
        "header": ("Score", "Mean", "Difference"),
    }
    return TableSection(**{**whole, "rows": rows, **changes})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (r"\a{b}", r"\textbackslash{}a\{b\}"),
        ("50 % & $1 #2 a_b", r"50 \% \& \$1 \#2 a\_b"),
        ("~x^2", r"\textasciitilde{}x\textasciicircum{}2"),
        ("<=2 cm, p <0.001", "$<$=2 cm, p $<$0.001"),
        ("—", "--"),
        ("→0", r"$\rightarrow$0"),
        ("-0.1 [-0.2, +0.3]", "$-0.1$ [$-0.2$, $+0.3$]"),
        ("U-Net 3-4 cm", "U-Net 3-4 cm"),
    ],
)
def test_texts_are_shown_as_they_are(text, expected):
    assert escaped(text) == expected


def unescaped(pattern, line):
    return re.findall(rf"(?<!\\){pattern}", line)


@pytest.mark.parametrize("n", [2, LONGEST + 1])
def test_every_line_has_as_many_cells_as_the_table_has_columns(n):
    text = section_latex(section(n))
    columns = re.search(r"\\begin\{(?:tabular|longtable)\}\{([lr]+)\}", text)
    assert columns is not None
    lines = [line for line in text.splitlines() if line.endswith(r" \\")]

    assert columns[1] == "llrr"
    assert len(lines) == n + 1
    assert all(len(unescaped("&", line)) == 3 for line in lines)


@pytest.mark.parametrize("n", [2, LONGEST + 1])
def test_braces_and_environments_are_balanced_and_specials_escaped(n):
    text = section_latex(section(n, notes=["a & b"], explanations=["5 % of $x"]))
    body = "\n".join(line for line in text.splitlines() if not line.startswith("%"))

    assert len(unescaped(r"\{", body)) == len(unescaped(r"\}", body))
    assert re.findall(r"\\begin\{(\w+)\}", body) == re.findall(r"\\end\{(\w+)\}", body)[::-1]
    assert unescaped("[%#_^~]", body.replace(r"\begin{tabular}", "")) == []
    assert len(unescaped(r"\$", body)) % 2 == 0
    assert ("longtable" in body) == (n > LONGEST)
    for rule in ("toprule", "midrule", "bottomrule"):
        assert rf"\{rule}" in body


def test_title_caption_and_notes_make_the_caption_with_a_label():
    text = section_latex(section(notes=["SYNTHESIZED: made up."], explanations=["Of three runs."]))

    assert r"\caption[{50 \% of \#1}]{50 \% of \#1. Means\_of \{all\}. SYNTHESIZED: made up.}" in text
    assert r"\label{tab:x-1}" in text
    assert text.index(r"\end{tabular}") < text.index("Of three runs.") < text.index(r"\end{table}")


def test_the_best_cells_are_bold():
    text = section_latex(section(best={(1, 1)}))

    assert re.findall(r"\\textbf\{([^}]*)\}", text) == ["0.1 [0.0, 0.9]"]


def test_groups_are_set_apart():
    rows = [TableRow("", None, [name, "1", "2"], kind="group") for name in "ab"]

    assert section_latex(section(rows=rows, by_run=False)).count(r"\addlinespace") == 1


def test_a_wide_table_is_as_wide_as_the_text():
    rows = [TableRow("", None, ["a", *"123456"])]
    text = section_latex(section(rows=rows, header=("Row", *"123456"), by_run=False))

    assert r"\resizebox{\linewidth}{!}{%" in text
    assert r"\end{tabular}}" in text
    assert text.startswith(r"% needs \usepackage{booktabs,graphicx}")
    assert "resizebox" not in section_latex(section())
