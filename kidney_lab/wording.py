"""Wording that several messages share."""


def counted(n: int, noun: str) -> str:
    """A number and its noun.

    >>> counted(1, "case"), counted(2, "case"), counted(0, "training case")
    ('1 case', '2 cases', '0 training cases')
    """
    return f"{n} {noun}{'' if n == 1 else 's'}"
