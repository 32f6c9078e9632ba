"""What can go wrong in a training job, in words for the person who started it."""

from __future__ import annotations

from pathlib import Path


class TrainerError(Exception):
    """A training job cannot go on; the message says what was wrong, what was expected and what to do."""


class UsageError(TrainerError):
    """Options are wrong or contradict each other; the program ends with status 2, as for options that do not exist."""


class DataError(TrainerError):
    """Input data is missing or malformed."""

    @classmethod
    def at(cls, path: Path, line: int, problem: str) -> DataError:
        """An error at one line (counted from 1) of a file."""
        return cls(f"{path}:{line}: {problem}")


class ReadingError(UsageError, DataError):
    """An option that says how data is read is wrong; no data was looked at."""


class SchemaError(DataError):
    """A schema of columns contradicts itself, or says what cannot be.

    Attributes:
        where: the part of the schema, as in "[user.columns.age]".
        problem: what is wrong there.
    """

    def __init__(self, where: str, problem: str) -> None:
        super().__init__(f"{where}: {problem}" if where else problem)
        self.where, self.problem = where, problem


class ExportError(TrainerError):
    """A tower cannot be written as ONNX, or what was written does not compute the same."""


class PublishError(TrainerError):
    """A model cannot be published."""


def option(name: str) -> str:
    """The command line's option for the field `name` of a job's settings."""
    return f"--{name.replace('_', '-')}"
