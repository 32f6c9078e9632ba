"""Times in a user's own files: units, precision, order, and what is refused."""

from __future__ import annotations

import datetime
import decimal
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from rowbank_trainer.data import Dataset, Interactions, SplitRule, split_by
from rowbank_trainer.data.files import InteractionFiles, load_files
from rowbank_trainer.data.options import Reading
from rowbank_trainer.errors import DataError
from rowbank_trainer.online.config import OnlineConfig
from rowbank_trainer.online.periods import timeline

SECONDS = 1_711_846_799  # 2024-03-31T00:59:59Z


def events(tmp_path: Path, times: list[str]) -> Path:
    path = tmp_path / "events.csv"
    path.write_text("user,item,time\n" + "".join(f"1,{number},{time}\n" for number, time in enumerate(times)))
    return path


def load(path: Path, said: list[str] | None = None, **reading) -> Interactions:
    notify = ([] if said is None else said).append
    return load_files(InteractionFiles(path, reading=Reading(**reading)), notify).interactions


@pytest.mark.parametrize(
    ("times", "expected", "unit", "understood"),
    [
        ([SECONDS, SECONDS + 1], [SECONDS, SECONDS + 1], "s", "seconds, 2024-03-31T00:59:59 to 2024-03-31T01:00:00"),
        ([SECONDS * 1000 + 999, 0], [SECONDS * 1000 + 999, 0], "ms", "milliseconds"),
        ([SECONDS * 10**6 + 1], [SECONDS * 10**6 + 1], "us", "microseconds"),
        ([SECONDS * 10**9 + 1], [SECONDS * 10**9 + 1], "ns", "nanoseconds"),
        ([0, 10, 20], [0, 10, 20], "s", "seconds"),
        ([f"{SECONDS}.123456789", f"{SECONDS}.123456788"], [SECONDS * 10**9 + 123456789, SECONDS * 10**9 + 123456788],
         "ns", "seconds with fractions"),
        ([f"{SECONDS}123.5"], [SECONDS * 10**9 + 123_500_000], "ns", "milliseconds with fractions"),
        (["-1.5"], [-1_500_000_000], "ns", "seconds with fractions"),
        (["1.711846799e9"], [SECONDS], "s", "seconds"),
        (["20240131", "20240229"], [1_706_659_200, 1_709_164_800], "s", "dates written as numbers, such as 20240131"),
        (["20240131120000"], [1_706_702_400], "s", "dates written as numbers"),
        (["2024-01-31"], [1_706_659_200], "s", "written timestamps in seconds, taken as UTC"),
        (["2024-01-31 12:00"], [1_706_702_400], "s", "written timestamps"),
        (["2024-01-31T12:00:00Z", "2024-01-31T12:00:00.25+02:00"], [1_706_702_400_000, 1_706_695_200_250], "ms",
         "written timestamps in milliseconds, 2024"),
        (["2024-01-31 12:00:00.123456789"], [1_706_702_400_123_456_789], "ns", "written timestamps in nanoseconds"),
        (["2024-01-31", "9999-12-31 00:00:00.5"], [1_706_659_200_000, 253_402_214_400_500], "ms", "written timestamps"),
    ],
)  # fmt: skip
def test_times_of_text_files(tmp_path: Path, times: list, expected: list[int], unit: str, understood: str) -> None:
    said: list[str] = []
    found = load(events(tmp_path, [str(time) for time in times]), said)
    assert (found.times.tolist(), found.time_unit, found.times.dtype.str) == (expected, unit, "<i8")
    assert f"times in 'time': {understood}" in said[0]


@pytest.mark.parametrize(
    ("column", "expected", "unit"),
    [
        (pyarrow.array([5, 6], pyarrow.timestamp("ms", "Europe/Berlin")), [5, 6], "ms"),
        (pyarrow.array([5, 6], pyarrow.timestamp("ns")), [5, 6], "ns"),
        (pyarrow.array([datetime.date(1970, 1, 2), datetime.date(1970, 1, 3)]), [86_400, 172_800], "s"),
        (pyarrow.array([SECONDS + 0.25, SECONDS + 0.5]),
         [SECONDS * 10**9 + 250_000_000, SECONDS * 10**9 + 500_000_000], "ns"),
        (pyarrow.array([float(SECONDS), float(SECONDS + 1)]), [SECONDS, SECONDS + 1], "s"),
        (pyarrow.array([SECONDS, SECONDS + 1], pyarrow.uint64()), [SECONDS, SECONDS + 1], "s"),
        (pyarrow.array([SECONDS, SECONDS + 1], pyarrow.int32()), [SECONDS, SECONDS + 1], "s"),
        (pyarrow.array([decimal.Decimal("1.5"), decimal.Decimal("2.25")]), [1_500_000_000, 2_250_000_000], "ns"),
        (pyarrow.array(["2024-01-31", "2024-02-29"]).dictionary_encode(), [1_706_659_200, 1_709_164_800], "s"),
    ],
    ids=lambda value: str(getattr(value, "type", ""))[:20],
)  # fmt: skip
def test_times_of_parquet_columns(tmp_path: Path, column, expected: list[int], unit: str) -> None:
    path = tmp_path / "events.parquet"
    pyarrow.parquet.write_table(pyarrow.table({"user": [1, 1], "item": [1, 2], "time": column}), path)
    found = load(path)
    assert (found.times.tolist(), found.time_unit) == (expected, unit)


def test_floats_of_seconds_keep_their_order(tmp_path: Path) -> None:
    """Neighbouring float64 numbers stay apart as nanoseconds."""
    times = [float(SECONDS)]
    for _ in range(1000):
        times.append(float(np.nextafter(times[-1], np.inf)))
    path = tmp_path / "events.parquet"
    count = len(times)
    pyarrow.parquet.write_table(pyarrow.table({"user": [1] * count, "item": list(range(count)), "time": times}), path)
    assert (np.diff(load(path).times) > 0).all()


def test_leave_last_holds_out_the_latest_of_milliseconds(tmp_path: Path) -> None:
    """40 users, 5 items each, 100 ms apart, in a drawn order: always item 4 is the latest."""
    rows = [(user, item, SECONDS * 1000 + 100 * item) for user in range(40) for item in range(5)]
    order = np.random.default_rng(5).permutation(len(rows))
    path = tmp_path / "events.csv"
    path.write_text("user,item,time\n" + "".join("{},{},{}\n".format(*rows[row]) for row in order))
    parts = split_by(SplitRule.parse("leave-last:1"), load(path), timed=True, seed=1)
    assert parts.held_out.item_ids.tolist() == [4] * 40
    assert parts.train.time_unit == "ms"


@pytest.mark.parametrize(
    ("times", "message"),
    [
        ([SECONDS, SECONDS * 1000], f"got several: '{SECONDS}' in line 2 is seconds by its size, '{SECONDS}000' in "
                                    "line 3 is milliseconds; convert them to one, or say what all are"),
        ([SECONDS * 1000, SECONDS * 10**9], "is milliseconds by its size"),
        ([20240131, SECONDS], "'20240131' in line 2 is a date by its size"),
        ([20240131, 20240230, 20240301], "1 cell that is no time, the first in line 3 ('20240230')"),
        (["2024-01-31", "2024-02-30"], "1 cell that is no time, the first in line 3 ('2024-02-30')"),
        (["2024-01-31T00:00:00Z", "2024-01-31T00:00:00"], "expected all timestamps with a time zone, or none"),
        (["5", "0x1F"], "1 cell that is no time, the first in line 3 ('0x1F')"),
        (["5", "inf"], "1 cell that is no time, the first in line 3 ('inf')"),
        (["5", "99999999999999999999"], "the first in line 3 ('99999999999999999999')"),
        (["5", ""], "1 missing time, the first in line 3 ('')"),
        (["2024-01-31 00:00:00.123456789", "9999-12-31"], "the first in line 3 ('9999-12-31')"),
        (["31.01.2024", "01.02.2024"], "2 cells that are no times, the first in line 2 ('31.01.2024')"),
    ],
)  # fmt: skip
def test_times_that_are_refused(tmp_path: Path, times: list, message: str) -> None:
    path = events(tmp_path, [str(time) for time in times])
    with pytest.raises(DataError) as caught:
        load(path)
    assert str(caught.value).startswith(f"{path}: column 'time': ")
    assert message in str(caught.value)


def test_bad_times_can_be_skipped_and_units_named(tmp_path: Path) -> None:
    said: list[str] = []
    path = events(tmp_path, ["2024-01-31", "noon", "2024-02-30", "", "2024-02-29"])
    found = load(path, said, skip_bad_rows=True)
    assert (found.item_ids.tolist(), found.times.tolist()) == ([0, 4], [1_706_659_200, 1_709_164_800])
    assert said[0] == (
        f"{path}: skipped 3 of 5 rows ('time': 1 missing time, line 5 (''); 'time': 2 cells that are no times, "
        "line 3 ('noon'), line 4 ('2024-02-30'))."
    )
    mixed = events(tmp_path, [str(SECONDS), str(SECONDS * 1000)])
    found = load(mixed, time_unit="ms")
    assert (found.times.tolist(), found.time_unit) == ([SECONDS, SECONDS * 1000], "ms")
    assert load(events(tmp_path, ["20240131"]), time_unit="s").times.tolist() == [20240131]
    with pytest.raises(DataError, match="--time-unit: expected one of auto, s, ms, us, ns, date, got 'minutes'"):
        Reading(time_unit="minutes")


@pytest.mark.parametrize("good", ["1711846799", "2024-01-31", "2024-01-31T00:00:00Z"])
def test_what_times_are_is_told_by_one_that_is_a_time(tmp_path: Path, good: str) -> None:
    """Also if the first cells are none."""
    found = load(events(tmp_path, ["-", "n.d.", good, "-", good]), skip_bad_rows=True)
    assert found.item_ids.tolist() == [2, 4]


def test_files_in_two_units_meet_in_the_finer_one(tmp_path: Path) -> None:
    train, test = tmp_path / "train.csv", tmp_path / "test.csv"
    train.write_text(f"user,item,time\n1,1,{SECONDS}\n")
    test.write_text(f"user,item,time\n1,2,{SECONDS * 1000 + 5}\n")
    dataset = load_files(InteractionFiles(train=train, test=test))
    assert dataset.interactions.times.tolist() == [SECONDS * 1000]
    assert (dataset.interactions.time_unit, dataset.held_out.time_unit) == ("ms", "ms")


def test_periods_are_cut_in_the_unit_of_the_times(tmp_path: Path) -> None:
    """Of 86,400,000 ms a day: the last millisecond of a day belongs to it, the next does not."""
    day = 86_400_000
    start = SECONDS * 1000
    path = events(tmp_path, [str(start), str(start + day - 1), str(start + day), str(start + 2 * day)])
    interactions = load(path)
    dataset = Dataset("events", interactions, load_files(InteractionFiles(path)).catalogue)
    line = timeline(dataset, OnlineConfig(days=1))
    assert line.ends.tolist() == [2, 3, 4]
    assert line.period(0).times[0] // line.period(0).ticks_per_s == SECONDS
