"""How cells of a user's own files are to be understood."""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_trainer.errors import DataError, ReadingError

MISSING_WORDS = ("NA", "N/A", "<NA>", "null", "NaN", "None")
ID_TYPES = ("auto", "int", "text")
TIME_UNITS = ("auto", "s", "ms", "us", "ns", "date")


@dataclass(frozen=True, slots=True)
class Reading:
    """How cells are understood.

    Attributes:
        delimiter: between the columns of a text file, one character or "tab"; None: recognised.
        id_type: "auto": integers if all ids of users (or of items) in all files are plain integers, else text.
        missing_words: what stands for a missing cell beside a blank one, in any case.
        skip_bad_rows: leave out rows that cannot be used, and say so; otherwise they are an error.
        time_unit: of numbers in a column of times: "auto" (by their size), "s", "ms", "us", "ns", or "date" for
            numbers such as 20240131.
    """

    delimiter: str | None = None
    id_type: str = "auto"
    missing_words: tuple[str, ...] = MISSING_WORDS
    skip_bad_rows: bool = False
    time_unit: str = "auto"

    def __post_init__(self) -> None:
        if self.id_type not in ID_TYPES:
            raise ReadingError(f"--id-type: expected one of {', '.join(ID_TYPES)}, got {self.id_type!r}")
        if self.time_unit not in TIME_UNITS:
            raise DataError(f"--time-unit: expected one of {', '.join(TIME_UNITS)}, got {self.time_unit!r}")
        if self.delimiter in ("tab", "\\t"):
            object.__setattr__(self, "delimiter", "\t")

    def given(self) -> list[str]:
        """The options that say something else than usual."""
        usual = Reading()
        options = {
            "--delimiter": self.delimiter != usual.delimiter,
            "--id-type": self.id_type != usual.id_type,
            "--time-unit": self.time_unit != usual.time_unit,
            "--missing-values": self.missing_words != usual.missing_words,
            "--skip-bad-rows": self.skip_bad_rows,
        }
        return [name for name, changed in options.items() if changed]
