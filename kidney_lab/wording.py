"""Wording that several messages share."""

from collections.abc import Sequence


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "case"), counted(2, "case"), counted(0, "training case")
    ('1 case', '2 cases', '0 training cases')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"


def listed(words: Sequence[str], last: str = "and") -> str:
    """Words as a list within a sentence.

    Args:
        words: one or more.
        last: before the last one.

    >>> listed(["a"]), listed(["a", "b"]), listed(["a", "b", "c"], "or")
    ('a', 'a and b', 'a, b or c')
    """
    *others, end = words
    return f"{', '.join(others)} {last} {end}" if others else end
