"""Bases of a version in files, so that a second or restarted process serves it in seconds and shares its memory.

A version has a folder of its own. A base is two files with one stamp, the index and, last, the items; who finds the
items finds a whole base. One process at a time makes bases, the one that holds the folder's lock; the others map what
it made. What a newer base replaces is removed at once: those who have mapped it keep it until they let go.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import os
import re
import shutil
import stat
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import numpy.typing as npt

from rowbank.errors import RequestError
from rowbank_server.features import FeatureField, FeatureType
from rowbank_server.registry.model import Model
from rowbank_server.retrieval.columns import Column, Texts
from rowbank_server.retrieval.index import (
    ArrayFileError,
    IndexOptions,
    load_index,
    map_arrays,
    save_index,
    write_arrays,
)
from rowbank_server.retrieval.parts import Counts
from rowbank_server.retrieval.segments import Segment

_log = logging.getLogger("rowbank.api")

_FORMAT = 1
_KIND = "items"
_NAME = re.compile(r"base-(\d{20})\.(items|index)")
_STRANGE = (ArrayFileError, OSError, KeyError, TypeError, ValueError, IndexError)

_BUILDING, _SERVING = b"building", b"serving "  # What the lock's file says while somebody holds the lock.
_OLD_S = 7 * 86400.0  # Files of versions that nobody serves are removed then,
_MOST = 4  # and sooner where there are more of them, so that many versions do not fill the disk.

Arrays = dict[str, npt.NDArray[Any]]


class FolderError(Exception):
    """The folder for files cannot be used; the text says why and what to do."""


@dataclass(frozen=True, slots=True, eq=False)
class Base:
    """A base in files.

    Attributes:
        stamp: of later bases it is higher.
        positions: of the change feed: everything that was noted before is in it.
    """

    stamp: int
    segment: Segment
    counts: Counts
    positions: Mapping[str, str]


def prepare(folder: Path) -> None:
    """Makes the folder for all versions' files, for this user alone.

    Raises:
        FolderError: it cannot be made, or others could write to it.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = folder.stat()
    except OSError as error:
        raise FolderError(
            f"index_dir: {folder} cannot be used: {error.strerror}; name a folder that can be written to"
        ) from error
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & 0o022:
        raise FolderError(
            f"index_dir: {folder} has to be a folder that belongs to this user and that nobody else may write to, as "
            "what lies in it is served; name another, or change its owner and mode (chmod 700)"
        )


class BaseFiles:
    """The files of one version. For one thread.

    Args:
        folder: for all versions; see `prepare`.
        namespace: of the features, as several may use one folder.
        index: what indexes are made by; one that was made by other settings is made anew.
    """

    def __init__(self, folder: Path, namespace: str, model: Model, index: IndexOptions | None = None) -> None:
        made_by = index or IndexOptions()
        self._made_by = [made_by.kind, made_by.exact_max_items, made_by.recall_target]
        self._model = model
        name, version = model.manifest.name, model.version
        self._folder = folder / quote(namespace, safe="") / quote(name, safe="") / quote(version, safe="")
        self._what = f"model {name!r} {version}"
        self._lock: int | None = None
        self._refused: set[int] = set()

    @property
    def is_ours(self) -> bool:
        """Whether this process makes the version's bases."""
        return self._lock is not None

    def claim(self, *, serving: bool) -> bool:
        """Becomes the one who makes bases, if nobody is; what an earlier one left half done is removed.

        Args:
            serving: the version is served already, so nobody has to wait for a first base.

        Raises:
            OSError: the folder cannot be made.
        """
        if self._lock is None:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            lock = os.open(self._folder / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(lock)
                return False
            self._lock = lock
            os.pwrite(lock, _SERVING if serving else _BUILDING, 0)
            self._clean(max(self._stamps(), default=0))
            self._forget_others()
        return True

    def say_serving(self) -> None:
        """Says that the version is served, so that nobody waits any more for a first base, if this process has the
        lock."""
        if self._lock is not None:
            os.pwrite(self._lock, _SERVING, 0)

    def is_being_built(self) -> bool:
        """Whether another process has the lock, and may make a first base soon."""
        try:
            lock = os.open(self._folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return False
        try:
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return os.pread(lock, len(_BUILDING), 0) == _BUILDING
        finally:
            os.close(lock)
        return True  # Nobody has it now: to be claimed.

    def release(self) -> None:
        """Leaves it to others to make bases."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def has_newer(self, than: int) -> bool:
        """Whether there is a base with a higher stamp that was not refused yet."""
        return any(stamp > than and stamp not in self._refused for stamp in self._stamps())

    def newest(self, after: int = 0) -> Base | None:
        """The newest base that fits the version, with a stamp above `after`; the log says why one does not."""
        for stamp in sorted((stamp for stamp in self._stamps() if stamp > after), reverse=True):
            if stamp in self._refused:
                continue
            try:
                return self._opened(stamp)
            except FileNotFoundError:
                continue  # A newer one took its place.
            except _STRANGE as error:
                self._refused.add(stamp)
                _log.warning("%s: a file of its index is not used, and it is built anew: %s", self._what, error)
        return None

    def write(self, segment: Segment, counts: Counts, positions: Mapping[str, str]) -> Base | None:
        """Writes a base and maps it; None if it cannot be written. REQUIRES: `is_ours`."""
        stamp = max(time.time_ns(), max(self._stamps(), default=0) + 1)
        began_at = time.monotonic()
        try:
            save_index(segment.index, self._path(stamp, "index"))
            facts, arrays = _packed(segment, counts)
            facts |= {"fits": self._fits(), "positions": dict(positions)}
            write_arrays(self._path(stamp, "items"), _KIND, facts, arrays)
            made = self._opened(stamp)
        except _STRANGE as error:
            _log.warning("%s: its index is not kept in files: %s", self._what, error)
            return None
        self._clean(stamp)
        _log.info(
            "%s: wrote %d items to %s in %.1f s", self._what, len(segment), self._folder, time.monotonic() - began_at
        )
        return made

    def _opened(self, stamp: int) -> Base:
        mapped = map_arrays(self._path(stamp, "items"))
        facts, arrays = mapped.facts, dict(mapped.arrays)
        if mapped.kind != _KIND or facts["fits"] != self._fits():
            raise ValueError(
                f"{mapped.path} was made for another state of the version: its manifest or its views differ"
            )
        mapped.verify()
        index = load_index(self._path(stamp, "index"), verify=True)
        segment, counts = _unpacked(facts, arrays, index)
        positions = {str(view): str(position) for view, position in facts["positions"].items()}
        return Base(stamp, segment, counts, positions)

    def _fits(self) -> Mapping[str, Any]:
        """What a file must have been made for."""
        manifest, items = self._model.manifest, self._model.items
        try:
            ages = [items.store.view(name).max_age_s for name in (items.base, items.overlay) if name]
            fields = [field.model_dump(mode="json") for field in items.definition().fields]
        except RequestError as error:
            raise ValueError(f"the item view cannot be read: {error.message}") from error
        return {
            "format": _FORMAT,
            "manifest": hashlib.sha256(manifest.SerializeToString(deterministic=True)).hexdigest(),
            "fields": fields,
            "ages": ages,
            "index": self._made_by,
        }

    def _path(self, stamp: int, what: str) -> Path:
        return self._folder / f"base-{stamp:020d}.{what}"

    def _stamps(self) -> list[int]:
        return [int(name[1]) for name in self._names() if name[2] == "items"]

    def _names(self) -> Iterator[re.Match[str]]:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            for entry in os.listdir(self._folder):
                if found := _NAME.fullmatch(entry):
                    yield found

    def _clean(self, keep: int) -> None:
        """Removes older bases, and what was left half written."""
        for entry in os.listdir(self._folder):
            found = _NAME.fullmatch(entry)
            if (found and int(found[1]) != keep) or entry.endswith(".tmp"):
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(self._folder / entry)

    def _forget_others(self) -> None:
        """Removes files of other versions of the model that nobody serves and that are old or many."""
        unserved = [
            (written_s, folder)
            for folder in self._folder.parent.iterdir()
            if folder != self._folder and (written_s := _unserved(folder)) is not None
        ]
        for place, (written_s, folder) in enumerate(sorted(unserved, reverse=True)):
            if place >= _MOST or time.time() - written_s > _OLD_S:
                _log.info("%s: removed the files of version %s, which nobody serves", self._what, folder.name)
                shutil.rmtree(folder, ignore_errors=True)


def _unserved(folder: Path) -> float | None:
    """When the files of a version were written last, in Unix seconds; None: somebody serves it."""
    try:
        lock = os.open(folder / "lock", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return max(entry.stat().st_mtime for entry in folder.iterdir())
    except OSError:
        return None
    finally:
        os.close(lock)


def _packed(segment: Segment, counts: Counts) -> tuple[dict[str, Any], Arrays]:
    arrays: Arrays = {
        "ids": segment.ids,
        "standing": segment.standing,
        "content": segment.content,
        "inputs": segment.inputs,
        "counted": counts.items,
        "counts": counts.times,
    }
    _pack_texts(arrays, "titles", segment.titles)
    if segment.texts is not None:
        _pack_texts(arrays, "texts", segment.texts)
    columns = []
    for number, (name, column) in enumerate(segment.columns.items()):
        key = f"column{number}"
        arrays |= {f"{key}.present": column.present, f"{key}.stored": column.stored, f"{key}.values": column.values}
        if column.ends is not None:
            arrays[f"{key}.ends"] = column.ends
        if column.words is not None:
            _pack_texts(arrays, f"{key}.words", column.words)
        columns.append([name, column.type.value])
    facts = {
        "columns": columns,
        "texts": segment.texts is not None,
        "read_as": [json.loads(field.model_dump_json()) for field in segment.fields],
    }
    return facts, {name: np.ascontiguousarray(array) for name, array in arrays.items()}


def _pack_texts(arrays: Arrays, key: str, texts: Texts) -> None:
    arrays[f"{key}.data"], arrays[f"{key}.ends"] = texts.data, texts.ends


def _unpacked(facts: Mapping[str, Any], arrays: Arrays, index: Any) -> tuple[Segment, Counts]:
    ids = arrays["ids"]
    columns = {}
    for number, (name, kind) in enumerate(facts["columns"]):
        key = f"column{number}"
        columns[name] = Column(
            FeatureType(kind),
            arrays[f"{key}.present"],
            arrays[f"{key}.stored"],
            arrays[f"{key}.values"],
            arrays.get(f"{key}.ends"),
            _texts(arrays, f"{key}.words") if f"{key}.words.ends" in arrays else None,
        )
    segment = Segment(
        ids=ids,
        titles=_texts(arrays, "titles"),
        texts=_texts(arrays, "texts") if facts["texts"] else None,
        standing=arrays["standing"],
        columns=columns,
        content=arrays["content"],
        inputs=arrays["inputs"],
        fields=tuple(FeatureField.model_validate(field) for field in facts["read_as"]),
        index=index,
    )
    sizes = {len(ids), index.size, len(segment.titles), len(segment.standing), len(segment.content)}
    if len(sizes | {len(column) for column in columns.values()}) != 1:
        raise ValueError("its parts have different numbers of items")
    return segment, Counts(arrays["counted"], arrays["counts"])


def _texts(arrays: Arrays, key: str) -> Texts:
    return Texts(arrays[f"{key}.data"], arrays[f"{key}.ends"])
