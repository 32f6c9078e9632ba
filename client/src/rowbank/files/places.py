"""Files on local disks and in object stores, by path or URL, through fsspec."""

from __future__ import annotations

import contextlib
import hashlib
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from rowbank.errors import InvalidFile, InvalidRequest, MissingPackage

_PIECE_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Place:
    """A path in a file system."""

    fs: Any
    path: str

    def __str__(self) -> str:
        protocol = self.fs.protocol if isinstance(self.fs.protocol, str) else self.fs.protocol[0]
        return self.path if protocol == "file" else str(self.fs.unstrip_protocol(self.path))

    def __truediv__(self, name: str) -> Place:
        return Place(self.fs, f"{self.path.rstrip('/')}/{name}")

    def exists(self) -> bool:
        """Whether there is a file or folder."""
        return bool(self.fs.exists(self.path))

    def read(self) -> bytes:
        """The whole file. Raises InvalidFile if it cannot be read."""
        with reading(self) as stream:
            data: bytes = stream.read()
            return data

    def write(self, data: bytes) -> None:
        """Creates or replaces the file, which appears whole."""
        with writing(self) as stream:
            stream.write(data)


def place_of(url: str) -> Place:
    """The place that a local path or a URL names.

    Raises:
        MissingPackage: fsspec, or the package for this kind of URL, is not installed.
        InvalidFile: nothing knows this kind of URL.
    """
    try:
        import fsspec
    except ImportError:
        raise missing_parquet("fsspec") from None
    try:
        fs, path = fsspec.core.url_to_fs(str(url))
    except ImportError as error:
        raise MissingPackage(f"{url}: {error}") from None
    except ValueError:
        raise InvalidFile(
            f"{url}: expected a local path or a URL that fsspec reaches, such as s3://bucket/folder"
        ) from None
    return Place(fs, path)


def file_place(url: str) -> Place:
    """The place of a file to be written. Raises InvalidFile if a folder is there, or could only be meant."""
    place = place_of(url)
    require_no_folder(place)
    if str(url).endswith("/"):
        raise InvalidFile(f"{url}: expected the name of a file, got that of a folder; add a name to it")
    return place


def require_no_folder(place: Place) -> None:
    """Raises InvalidFile if there is a folder."""
    if place.fs.isdir(place.path):
        raise InvalidFile(
            f"{place}: expected the name of a file, got a folder; name a file in it, such as {place}/NAME"
        )


def require_folder_name(what: str, name: str) -> None:
    """Raises InvalidRequest unless `name` is one plain name, which cannot lead out of the folder that it is put in."""
    if name in ("", ".", "..") or "/" in name or "\\" in name or not name.isprintable():
        raise InvalidRequest(
            f"{what}: expected the name of a folder without a path, such as nightly, got {name!r}; the folder that it "
            "is in is the other argument"
        )


def is_inner_path(path: str) -> bool:
    """Whether a path, as a manifest has it, stays in its folder."""
    return bool(path) and not path.startswith("/") and "\\" not in path and ".." not in path.split("/")


def missing_parquet(package: str) -> MissingPackage:
    """The error for a package of the extra `parquet` that is not installed."""
    return MissingPackage(f"{package} is not installed, and Parquet files need it: pip install 'rowbank[parquet]'")


class HashingFile:
    """A writer that counts and hashes what goes through it."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream
        self._digest = hashlib.sha256()
        self.bytes = 0
        self.closed = False

    @property
    def sha256(self) -> str:
        """Of everything written so far, in hexadecimal."""
        return self._digest.hexdigest()

    def write(self, data: Any) -> int:
        view = memoryview(data)
        self._digest.update(view)
        self._stream.write(view)
        self.bytes += view.nbytes
        return view.nbytes

    def tell(self) -> int:
        return self.bytes

    def flush(self) -> None:
        self._stream.flush()

    def close(self) -> None:
        """Marks the end; the stream below is its owner's to close."""
        self.closed = True


@contextlib.contextmanager
def writing(place: Place) -> Iterator[HashingFile]:
    """Writes a file beside its place and moves it there at the end; after an error nothing is left of it.

    Raises:
        InvalidFile: the file system refuses.
    """
    require_no_folder(place)
    part = Place(place.fs, f"{place.path}.part-{uuid.uuid4().hex[:8]}")
    try:
        parent = place.fs._parent(place.path)
        if parent:
            place.fs.makedirs(parent, exist_ok=True)
        with place.fs.open(part.path, "wb") as stream:
            yield HashingFile(stream)
        place.fs.mv(part.path, place.path)
    except BaseException as error:
        with contextlib.suppress(Exception):
            place.fs.rm_file(part.path)
        if isinstance(error, OSError):
            raise InvalidFile(f"{place}: cannot be written: {getattr(error, 'strerror', None) or error}") from None
        raise


@contextlib.contextmanager
def reading(place: Place) -> Iterator[Any]:
    """The file as a seekable stream. Raises InvalidFile if there is none or it cannot be read."""
    try:
        with place.fs.open(place.path, "rb") as stream:
            yield stream
    except FileNotFoundError:
        raise InvalidFile(f"{place}: no such file") from None
    except IsADirectoryError:
        raise InvalidFile(f"{place}: expected a file, got a folder; name a file in it") from None
    except OSError as error:
        raise InvalidFile(f"{place}: cannot be read: {error}") from None


def fingerprint(place: Place) -> tuple[int, str]:
    """Bytes and SHA-256 of a file. Raises InvalidFile if it cannot be read."""
    digest, size = hashlib.sha256(), 0
    with reading(place) as stream:
        while piece := stream.read(_PIECE_BYTES):
            digest.update(piece)
            size += len(piece)
    return size, digest.hexdigest()
