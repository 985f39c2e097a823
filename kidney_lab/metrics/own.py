"""Metrics of the user's own, which `metrics=` names by the import path of a function: `my_lab.metrics.my_score`.

The function takes a `Measurement` of one region and returns a number, NaN where it is undefined. Its own name, the last
part of the path, is what `metrics.csv` calls it.
"""

from collections.abc import Callable
from importlib import import_module

from kidney_lab.errors import InputError
from kidney_lab.metrics.measurement import Measurement


def is_path(name: str) -> bool:
    """Whether a metric is named by an import path; those of the table have no dot in their names."""
    return "." in name


def short_name(name: str) -> str:
    """What `metrics.csv` calls a metric.

    >>> short_name("my_lab.metrics.my_score"), short_name("dice")
    ('my_score', 'dice')
    """
    return name.rpartition(".")[2]


def import_metric(path: str) -> Callable[[Measurement], float]:
    """The function that an import path names.

    Args:
        path: package, module and function, such as `my_lab.metrics.my_score`.

    Returns:
        The function, which raises an `InputError` that names it where it gives no number.

    Raises:
        InputError: there is nothing of that name, or it cannot be called.
    """
    module, _, name = path.rpartition(".")
    try:
        function = getattr(import_module(module), name)
    except (ImportError, AttributeError, ValueError) as error:
        raise InputError(
            f"The metric {path!r} cannot be imported ({error}): name package.module.function, and install the package "
            "or start in the folder that holds it."
        ) from error
    if not callable(function):
        raise InputError(f"The metric {path!r} is a {type(function).__name__}: name a function of a Measurement.")

    def checked(masks: Measurement) -> float:
        try:
            return float(function(masks))
        except Exception as error:
            raise InputError(
                f"The metric {path!r} gives no number of a measurement ({type(error).__name__}: {error}): let it "
                "return one, NaN where it is undefined."
            ) from error

    return checked
