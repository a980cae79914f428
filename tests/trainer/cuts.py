"""Trainings that end before their time, and those of which nobody hears."""

from collections.abc import Callable

from trainer.log import TrainProgress


class CutError(Exception):
    """Stands for a kill: it comes after a step and leaves no time to write anything."""


def cut_after(step: int) -> Callable[[TrainProgress], None]:
    def progress(report: TrainProgress) -> None:
        if report.step == step:
            raise CutError

    return progress


def silent(report: TrainProgress) -> None:
    pass
