"""The embedded Redis's file is synced, and only when there is something to sync."""

from __future__ import annotations

import ctypes
import mmap
import os

import pytest
import redis
from tests.processes import until

from rowbank_server.disk_sync import DiskSync
from rowbank_server.redis_supervisor import EmbeddedRedis


@pytest.fixture
def synced(monkeypatch):
    """File descriptors' files, as the system is asked to sync them."""
    names = []
    fsync = os.fsync

    def noted(fd):
        names.append(os.readlink(f"/proc/self/fd/{fd}"))
        fsync(fd)

    monkeypatch.setattr(os, "fsync", noted)
    return names


def test_files_are_synced_when_they_changed(tmp_path, synced):
    folder = tmp_path / "appendonlydir"
    folder.mkdir()
    (folder / "a.1.incr.aof").write_bytes(b"x")
    (folder / "a.1.base.rdb").write_bytes(b"x")
    sync = DiskSync(tmp_path)
    assert (sync.sync(), sync.sync()) == (1, 0)
    with (folder / "a.1.incr.aof").open("ab") as file:
        file.write(b"y")
    (folder / "a.2.incr.aof").write_bytes(b"z")
    assert sync.sync() == 2
    (folder / "a.1.incr.aof").unlink()
    assert sync.sync() == 0
    assert [name.rsplit("/", 1)[1] for name in synced[:1]] == ["a.1.incr.aof"]


def test_what_the_embedded_server_wrote_is_synced(tmp_path, synced):
    with EmbeddedRedis(tmp_path) as server, redis.Redis.from_url(server.url) as client:
        client.set("k", "v")
        until(lambda: any(name.endswith(".aof") for name in synced), what="a sync of the append-only file")


def cached_bytes(path):
    """How much of a file the system has in memory."""
    libc = ctypes.CDLL(None, use_errno=True)
    size = path.stat().st_size
    with path.open("r+b") as file, mmap.mmap(file.fileno(), size) as memory:
        start = ctypes.addressof(ctypes.c_char.from_buffer(memory))
        pages = (ctypes.c_ubyte * -(-size // mmap.PAGESIZE))()
        if libc.mincore(ctypes.c_void_p(start), ctypes.c_size_t(size), pages):
            raise OSError(ctypes.get_errno(), "mincore")
    return sum(page & 1 for page in pages) * mmap.PAGESIZE


@pytest.mark.skipif(not hasattr(os, "posix_fadvise"), reason="this system takes no advice about files")
def test_what_is_on_the_disk_is_dropped_from_memory(tmp_path):
    path = tmp_path / "a.aof"
    content = bytes(range(256)) * (1 << 14)
    path.write_bytes(content)
    before = cached_bytes(path)
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    if before < len(content) or cached_bytes(path) > 0:
        pytest.skip("this file system keeps its files in memory")
    path.write_bytes(content)
    assert DiskSync(tmp_path).sync() == 1
    assert cached_bytes(path) == 0
    assert path.read_bytes() == content
