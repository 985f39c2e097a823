"""Errors that are the user's to mend: reported in one sentence, without a traceback, with exit code 2."""

from collections.abc import Sequence


class InputError(Exception):
    """The input or the configuration is wrong; the message names the thing, its value and what to do next."""

    @classmethod
    def of(cls, summary: str, problems: Sequence[str]) -> "InputError":
        """Builds one error out of every problem found, so that the user mends all of them in one go.

        Args:
            summary: sentence that heads the list.
            problems: one sentence each.

        Returns:
            An error whose message is the summary and the problems, one a line.
        """
        return cls("\n".join([summary, *(f"  - {problem}" for problem in problems)]))
