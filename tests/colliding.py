"""Two ids that hash alike, which is what must not go unnoticed."""

from __future__ import annotations

# Found by following chains of hashes from random starts until two met, after some three billion of them: both have the
# key 1836933700930048221, the first 8 bytes of BLAKE2b (digest of 8 bytes, little-endian) without the highest bit.
FIRST, SECOND = "cacdaphdphjndadf", "jakjkgncppcmhdnh"
KEY = 1836933700930048221
