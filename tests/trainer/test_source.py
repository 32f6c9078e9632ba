"""Where interactions come from: a folder, a download, or the synthetic set."""

from __future__ import annotations

import functools
import hashlib
import io
import threading
import zipfile
from collections.abc import Iterator
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pytest

from rowbank_trainer.data import Interactions, open_dataset, split, synthetic_dataset
from rowbank_trainer.data.download import Archive, fetch
from rowbank_trainer.errors import DataError

FLAGS = "|".join("0" * 19)
FILES = {"u.data": "1\t1\t5\t100\n2\t1\t4\t101\n", "u.item": f"1|One (2000)|||u|{FLAGS}\n", "README": "terms"}


class QuietHandler(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def website(tmp_path: Path) -> Iterator[str]:
    """A real HTTP server with an archive on it."""
    folder = tmp_path / "site"
    folder.mkdir()
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        for name, text in FILES.items():
            archive.writestr(f"ml-100k/{name}", text)
    (folder / "ml-100k.zip").write_bytes(content.getvalue())
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(QuietHandler, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_address[1]}/ml-100k.zip"
    server.shutdown()
    thread.join()
    server.server_close()


def archive_at(url: str, md5: str = "0" * 32, files: tuple[str, ...] = ("u.data", "u.item", "README")) -> Archive:
    return Archive("ml-100k", url, md5, files)


def md5_of(tmp_path: Path) -> str:
    return hashlib.md5((tmp_path / "site" / "ml-100k.zip").read_bytes()).hexdigest()


def test_download_is_checked_kept_and_used(website: str, tmp_path: Path) -> None:
    notices: list[str] = []
    archive = archive_at(website, md5_of(tmp_path))
    dataset = open_dataset(None, archive=archive, cache=tmp_path / "cache", notify=notices.append)
    assert dataset.name == "MovieLens 100k"
    assert len(dataset.interactions) == 2
    assert len(notices) == 1
    assert website in notices[0]
    (tmp_path / "site" / "ml-100k.zip").unlink()  # The second time nothing is fetched.
    assert fetch(archive, tmp_path / "cache", timeout_s=5.0) == tmp_path / "cache" / "ml-100k"


def test_wrong_checksum_leaves_nothing_behind(website: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=f"expected MD5 {'0' * 32}, got {md5_of(tmp_path)}"):
        fetch(archive_at(website), tmp_path / "cache", timeout_s=5.0)
    assert not (tmp_path / "cache").exists()


def test_archive_without_an_expected_file(website: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be unpacked"):
        fetch(archive_at(website, md5_of(tmp_path), ("u.data", "u.other")), tmp_path / "cache", timeout_s=5.0)
    assert not (tmp_path / "cache").exists()


def test_without_network_the_synthetic_set_steps_in_and_says_so(tmp_path: Path) -> None:
    notices: list[str] = []
    nobody = archive_at("http://127.0.0.1:1/ml-100k.zip")
    dataset = open_dataset(None, archive=nobody, cache=tmp_path, notify=notices.append)
    assert dataset.name == "synthetic"
    assert "cannot be downloaded" in notices[0]
    assert "SYNTHETIC" in notices[1]


def test_folder_is_final(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such folder"):
        open_dataset(tmp_path / "no", archive=None, cache=tmp_path, notify=pytest.fail)


def test_synthetic_set_is_deterministic_and_long_tailed() -> None:
    first, second = synthetic_dataset(), synthetic_dataset()
    np.testing.assert_array_equal(first.interactions.item_ids, second.interactions.item_ids)
    assert first.catalogue.titles == second.catalogue.titles
    assert len(first.interactions) > 30_000
    pairs = np.stack([first.interactions.user_ids, first.interactions.item_ids], axis=1)
    assert len(np.unique(pairs, axis=0)) == len(pairs)
    counts = np.sort(np.unique(first.interactions.item_ids, return_counts=True)[1])[::-1]
    assert counts[:120].sum() > 0.3 * counts.sum()  # A tenth of the items has more than three times its share.
    assert set(np.unique(first.interactions.ratings)) <= {1, 2, 3, 4, 5}


def test_split_is_disjoint_complete_and_fixed_by_its_seed() -> None:
    interactions = synthetic_dataset().interactions
    parts = split(interactions, held_out_fraction=0.2, seed=3)
    assert len(parts.held_out) == len(interactions) // 5
    assert len(parts.train) + len(parts.held_out) == len(interactions)

    def pairs(part: Interactions) -> set[tuple[int, int]]:
        return set(zip(part.user_ids.tolist(), part.item_ids.tolist(), strict=True))

    assert not pairs(parts.train) & pairs(parts.held_out)
    again = split(interactions, held_out_fraction=0.2, seed=3)
    np.testing.assert_array_equal(parts.train.item_ids, again.train.item_ids)
    other = split(interactions, held_out_fraction=0.2, seed=4)
    assert pairs(other.held_out) != pairs(parts.held_out)


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5])
def test_split_refuses_empty_parts(fraction: float) -> None:
    with pytest.raises(ValueError, match=r"held_out_fraction must be in \(0, 1\)"):
        split(synthetic_dataset().interactions, held_out_fraction=fraction, seed=1)
