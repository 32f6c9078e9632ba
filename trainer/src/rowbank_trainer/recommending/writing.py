"""The file of recommendations: Parquet, in row groups, whole or not there at all."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

import numpy as np
import numpy.typing as npt
import pyarrow
import pyarrow.parquet

from rowbank.manifests import ModelManifest
from rowbank_trainer.data.dataset import Ids
from rowbank_trainer.errors import TrainerError


@dataclass(frozen=True, slots=True, eq=False)
class Answers:
    """Recommendations of some users.

    Attributes:
        users: U ids as callers know them: all integers, or all texts.
        counts: [U] int64, how many items each has.
        items: [S] their ids, one user's after the other's, best first.
        scores: [S] float32.
        sources: U of "personal" and "session".
    """

    users: Sequence[int | str]
    counts: Ids
    items: npt.NDArray[np.int64] | npt.NDArray[np.object_]
    scores: npt.NDArray[np.float32]
    sources: Sequence[str]


class AnswerFile:
    """Writes answers to `path`, which appears, or is replaced, when the last of them is there. Use it in a `with`.

    Raises:
        TrainerError: the file cannot be written.
    """

    def __init__(self, path: Path, manifest: ModelManifest, *, k: int) -> None:
        self._path, self._partial = path, path.with_name(f"{path.name}.partial")
        kinds = {"int64": pyarrow.int64(), "string": pyarrow.string()}
        facts = {"rowbank.model": manifest.name, "rowbank.version": manifest.version, "rowbank.k": str(k)}
        self._schema = pyarrow.schema(
            [
                ("user_id", kinds[manifest.user_ids]),
                ("item_ids", pyarrow.list_(kinds[manifest.item_ids])),
                ("scores", pyarrow.list_(pyarrow.float32())),
                ("source", pyarrow.string()),
            ],
            metadata=facts,
        )
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_dir():
                raise IsADirectoryError(errno.EISDIR, "it is a folder; name a file in it")
            self._stream = self._partial.open("wb")
            self._writer = pyarrow.parquet.ParquetWriter(self._stream, self._schema)
        except OSError as error:
            raise self._unwritable(error) from None

    def __enter__(self) -> AnswerFile:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self._writer.close()
            self._stream.close()
            if kind is None:
                self._partial.replace(self._path)
            else:
                self._partial.unlink(missing_ok=True)
        except OSError as problem:
            raise self._unwritable(problem) from None

    def write(self, answers: Answers) -> None:
        """Writes a row group. Raises TrainerError."""
        offsets = pyarrow.array(np.concatenate([[0], np.cumsum(answers.counts)]), pyarrow.int32())
        items = pyarrow.array(answers.items, self._schema.field("item_ids").type.value_type)
        scores = pyarrow.array(answers.scores, pyarrow.float32())
        columns = [
            pyarrow.array(answers.users, self._schema.field("user_id").type),
            pyarrow.ListArray.from_arrays(offsets, items),
            pyarrow.ListArray.from_arrays(offsets, scores),
            pyarrow.array(answers.sources, pyarrow.string()),
        ]
        try:
            self._writer.write_table(pyarrow.Table.from_arrays(columns, schema=self._schema))
        except OSError as error:
            raise self._unwritable(error) from None

    def _unwritable(self, error: OSError) -> TrainerError:
        return TrainerError(f"--out {self._path}: cannot be written: {error.strerror or error}")
