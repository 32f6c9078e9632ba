"""What becomes of a trained model: whether it is stored and served, and how its rows are kept.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

from dataclasses import dataclass

from rowbank_trainer.errors import UsageError

ROWS_MODES = ("frozen", "live")
FROZEN_DTYPES = ("float32", "float16")


@dataclass(frozen=True, slots=True)
class Publication:
    """What was asked for.

    Attributes:
        publish: whether a version is stored.
        activate: whether it is served from then on, which implies storing it.
        rows: "frozen" or "live".
        frozen_dtype: of frozen rows.
        keep: versions that stay when another is stored.
        force: serve it even if it differs strongly from what is served.
        data_name: what the data are called in comparisons; None: the data set's name.
    """

    publish: bool = False
    activate: bool = False
    rows: str = "frozen"
    frozen_dtype: str = "float32"
    keep: int = 5
    force: bool = False
    data_name: str | None = None

    def __post_init__(self) -> None:
        if self.rows not in ROWS_MODES:
            raise UsageError(f"--rows: expected {' or '.join(ROWS_MODES)}, got {self.rows!r}")
        if self.frozen_dtype not in FROZEN_DTYPES:
            raise UsageError(f"--frozen-dtype: expected {' or '.join(FROZEN_DTYPES)}, got {self.frozen_dtype!r}")
        if self.rows == "live" and self.frozen_dtype != "float32":
            raise UsageError(f"--frozen-dtype {self.frozen_dtype} is for frozen rows; leave out --rows live, or it")
        if self.keep < 1:
            raise UsageError(f"versions to keep: expected at least 1, got {self.keep}")
        if self.force and not self.activate:
            raise UsageError("--force says to serve a model however it differs; give --activate, too")

    @property
    def wanted(self) -> bool:
        """Whether a version is stored."""
        return self.publish or self.activate
