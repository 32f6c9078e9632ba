"""Features of many entities from files: Parquet, CSV and JSON lines; needs `pip install 'rowbank[parquet]'`.

    from rowbank import Client, feature_files

    with Client() as client:
        feature_files.import_features(client, "people", "people.parquet", event_time_column="updated_at")

docs/retrieval.md, "Importing files", says what cells may hold.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rowbank._checks import number
from rowbank.catalogue import REMOVED
from rowbank.closest import did_you_mean, listed
from rowbank.errors import InvalidFeature, InvalidFile, RequestError, ViewNotFound
from rowbank.features import FeatureField, FeatureView
from rowbank.files import feature_cells, feature_kinds, feature_packing, feature_times
from rowbank.files.feature_cells import Cells
from rowbank.files.feature_source import BATCH_BYTES, Batch, Source, open_source
from rowbank.files.feature_times import LATEST_S
from rowbank.text_ids import ID_TEXT
from rowbank_protos.v1 import features_pb2

if TYPE_CHECKING:
    from rowbank.client import Client

_KEPT_BYTES = 64 << 20  # A file that is no more than that when packed is read once; a larger one twice.
_LARGEST_BYTES = 2 * BATCH_BYTES  # A request above that is halved, down to single rows.

# Called with "checking" or "writing", the rows done so far and the rows there are; 0: not known yet.
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What was imported.

    Attributes:
        rows: of the file.
        written: of these, those whose event was not earlier than what the store had.
        outdated: the others.
        created: whether the view was created.
        features: the columns that were written.
    """

    view: str
    path: str
    rows: int
    written: int
    outdated: int
    created: bool
    features: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Job:
    """What to read of a file, and for which view."""

    source: Source
    view: FeatureView
    kinds: dict[str, str]
    entity_column: str
    event_time_column: str | None
    event_time_s: float
    text_ids: bool
    separator: str


def import_features(
    client: Client,
    view: str,
    path: str,
    *,
    entity_column: str | None = None,
    event_time_column: str | None = None,
    event_time_s: float | None = None,
    columns: Sequence[str] = (),
    text_ids: bool = False,
    create: str | None = None,
    types: Mapping[str, str] | None = None,
    max_age_s: float = 0.0,
    separator: str = "|",
    file_format: str = "",
    progress: Progress | None = None,
) -> ImportReport:
    """Writes a file's rows as features of a view; a row is one entity's.

    The whole file is checked before anything is written. Then rows are written in their order, in requests that are
    repeated if Redis or the server is away for a moment. An import that ended early may be run again: an event that is
    there already is written as the same, and one that is older than what is there is left out. An empty cell takes the
    feature away; features without a column stay as they are. Memory does not grow with the file.

    Args:
        path: local path or URL of a file that ends in .parquet, .csv, .tsv or .jsonl, the latter also with .gz.
        entity_column: has the ids; None: the one called as the view's entity.
        event_time_column: says when each row was true; None: all were at `event_time_s`.
        event_time_s: Unix seconds; None: the moment at which the import begins, by this machine's clock.
        columns: those to write; none: all but the two above.
        text_ids: ids are texts; an entity is known by the key that training gives its text (`rowbank.text.token_key`),
            and a view with the feature "_id" keeps the text.
        create: the entity ("user_id") of a view that is created with the file's columns if there is none of the name.
        types: with `create`, column -> type, for those that are not what the file makes them seem to be.
        max_age_s: with `create`.
        separator: between the elements of a list in CSV.
        file_format: "parquet", "csv", "tsv" or "jsonl"; "": as the path ends.
        progress: called after each piece.
    Raises:
        MissingPackage: pyarrow or fsspec is not installed.
        InvalidFile: the file, or a cell, which is named; nothing was written.
        ViewNotFound: there is no such view, and `create` was not given.
        InvalidFeature: the view is of another entity, or has no such feature; or it was replaced meanwhile.
        RequestError: a server or Redis was away for too long; the message says how many rows were written.
    """
    if event_time_column and event_time_s is not None:
        raise InvalidFile("event_time_column and event_time_s: expected one of them, got both; leave one out")
    if event_time_s is not None:
        event_time_s = number("event_time_s", event_time_s, "Unix seconds from 0 to 1e11, or None", low=0.0,
                              below=LATEST_S, error=InvalidFeature)  # fmt: skip
    began_s = time.time()
    source = open_source(path, file_format)
    found = next((one for one in client.features.list_views() if one.name == view), None)
    entity = found.entity if found else create
    if entity is None:
        known = listed(one.name for one in client.features.list_views())
        raise ViewNotFound(
            f"view {view!r} does not exist; known views: {known}; name its entity to create it, as in --create user_id",
            metadata={"view": view},
        )
    if create is not None and entity != create:
        raise InvalidFeature(
            f"view {view!r} is there and is of entity {entity!r}, not of {create!r}; give another name"
        )
    names = _columns(source, entity_column or entity, event_time_column, columns)
    made = found or _new_view(view, entity, feature_kinds.fields(source, names, types or {}), max_age_s, text_ids)
    job = _Job(
        source=source,
        view=made,
        kinds=_kinds(source, made, names),
        entity_column=entity_column or entity,
        event_time_column=event_time_column,
        event_time_s=began_s if event_time_s is None else event_time_s,
        text_ids=text_ids,
        separator=separator,
    )
    report = progress or (lambda stage, done, total: None)
    rows, kept = _check(job, report)
    if found is None:
        client.features.put_view(made)
    written = _write(client, job, rows, _requests(job) if kept is None else iter(kept), report)
    return ImportReport(view, path, rows, written, rows - written, found is None, tuple(names))


def _new_view(
    name: str, entity: str, fields: tuple[FeatureField, ...], max_age_s: float, text_ids: bool
) -> FeatureView:
    return FeatureView(name, entity, (*fields, FeatureField(ID_TEXT, "string")) if text_ids else fields, max_age_s)


def _columns(source: Source, entity: str, event_time: str | None, columns: Sequence[str]) -> list[str]:
    """The columns that are features."""
    source.require(entity, "with the entities' ids (--entity-column names another)")
    if event_time is not None:
        source.require(event_time, "with the times of events, as --event-time-column says")
    for name in columns:
        source.require(name, "as --column says")
    names = list(dict.fromkeys(columns)) or [name for name in source.names if name not in (entity, event_time)]
    if not names:
        raise InvalidFile(f"{source.place}: expected columns of features besides {entity!r}, got none")
    return names


def _kinds(source: Source, view: FeatureView, names: Sequence[str]) -> dict[str, str]:
    """Column -> the type that the view has for it."""
    kinds = {field.name: field.type for field in view.fields if field.name not in (ID_TEXT, REMOVED)}
    unknown = [name for name in names if name not in kinds]
    if unknown:
        raise InvalidFeature(
            f"{source.place}: column {unknown[0]!r} is no feature of view {view.name!r}"
            f"{did_you_mean(unknown[0], kinds)}; it has: {listed(kinds)}; say with --column which columns to import",
            metadata={"view": view.name, "feature": unknown[0]},
        )
    return {name: kinds[name] for name in names}


def _check(job: _Job, progress: Progress) -> tuple[int, list[features_pb2.WriteColumnsRequest] | None]:
    """How many rows the file has, all of which are sound; and its requests, if they are small enough to be kept."""
    rows, size = 0, 0
    kept: list[features_pb2.WriteColumnsRequest] | None = []
    for request in _requests(job):
        rows += _count(request)
        progress("checking", rows, max(job.source.rows, 0))
        if kept is not None:
            size += request.ByteSize()
            kept.append(request)
            kept = kept if size <= _KEPT_BYTES else None
    return rows, kept


def _write(
    client: Client, job: _Job, total: int, requests: Iterator[features_pb2.WriteColumnsRequest], progress: Progress
) -> int:
    """Sends requests one after the other, while the next is being made; returns how many rows were not outdated."""
    done = written = 0
    waiting: tuple[Future[features_pb2.WriteColumnsResponse], int] | None = None
    with ThreadPoolExecutor(1, "rowbank-import") as sender:
        try:
            for request in requests:
                sent = sender.submit(client.features.write_columns, request), _count(request)
                if waiting is not None:
                    before, waiting = waiting, None
                    written += before[0].result().written
                    done += before[1]
                    progress("writing", done, total)
                waiting = sent
            if waiting is not None:
                written += waiting[0].result().written
                done += waiting[1]
                progress("writing", done, total)
        except (RequestError, InvalidFile) as error:
            sender.shutdown(wait=False, cancel_futures=True)
            raise _interrupted(job, error, done, total) from None
    if done != total:
        raise InvalidFile(
            f"{job.source.place}: it had {total:,} rows when it was checked, and {done:,} when they were written; "
            "import it again"
        )
    return written


def _interrupted(job: _Job, error: RequestError | InvalidFile, done: int, total: int) -> RequestError | InvalidFile:
    return type(error)(
        f"{job.source.place}: the first {done:,} of {total:,} rows were written, and perhaps some after them: "
        f"{error.message}; import the file again, which does no harm to what is there",
        metadata={**error.metadata, "rows_written": str(done)},
    )


def _requests(job: _Job) -> Iterator[features_pb2.WriteColumnsRequest]:
    """The file as requests. Raises InvalidFile: the first bad cell of a column in the rows of a request."""
    names = [job.entity_column, *job.kinds]
    if job.event_time_column is not None:
        names.append(job.event_time_column)
    for batch in job.source.batches(names):
        yield from _halved(job, batch)


def _halved(job: _Job, batch: Batch) -> Iterator[features_pb2.WriteColumnsRequest]:
    request = _request(job, batch)
    if batch.rows == 1 or request.ByteSize() <= _LARGEST_BYTES:
        yield request
        return
    middle = batch.rows // 2
    for start, stop in ((0, middle), (middle, batch.rows)):
        parts = {name: cells[start:stop] for name, cells in batch.columns.items()}
        yield from _halved(job, Batch(batch.first + start, stop - start, parts))


def _request(job: _Job, batch: Batch) -> features_pb2.WriteColumnsRequest:
    def cells(name: str) -> Cells:
        return Cells(str(job.source.place), name, batch.first, batch.columns[name], job.separator)

    if job.event_time_column is None:
        times = np.array([round(job.event_time_s * 1e6)], np.int64)
    else:
        times = feature_times.event_times_us(cells(job.event_time_column))
    kept = []
    if job.text_ids and any(field.name == ID_TEXT for field in job.view.fields):
        kept = [feature_packing.column(ID_TEXT, "string", feature_cells.typed(cells(job.entity_column), "string"))]
    return features_pb2.WriteColumnsRequest(
        view=job.view.name,
        entities=feature_cells.entities(cells(job.entity_column), text_ids=job.text_ids).astype("<i8").tobytes(),
        event_times_us=times.astype("<i8").tobytes(),
        columns=[
            feature_packing.column(name, kind, feature_cells.typed(cells(name), kind))
            for name, kind in job.kinds.items()
        ]
        + kept,
    )


def _count(request: features_pb2.WriteColumnsRequest) -> int:
    return len(request.entities) // 8
