"""Errors that are reported in a sentence, without a traceback."""

from collections.abc import Sequence
from typing import Self


class _ToldError(Exception):
    """An error whose message is written for the user."""

    @classmethod
    def of(cls, summary: str, problems: Sequence[str]) -> Self:
        """Builds one error out of every problem found, so that the user mends all of them in one go.

        Args:
            summary: sentence that heads the list.
            problems: one sentence each.

        Returns:
            An error whose message is the summary and the problems, one a line.
        """
        return cls("\n".join([summary, *(f"  - {problem}" for problem in problems)]))


class InputError(_ToldError):
    """The input or the configuration is wrong; the message names the thing, its value and what to do next.

    It is the user's to mend, and ends the program with exit code 2.
    """


class BatchError(_ToldError):
    """Some of a batch could not be done, and the others were; the message lists the former.

    It ends the program with exit code 1, after everything that could be done.
    """


class JobError(_ToldError):
    """A job of a sweep failed by a fault of the program or the machine; its log holds the traceback."""
