# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source distribution of Letta, the one that the server's image is built from: the ancestors are in it."""

from __future__ import annotations

import fcntl
import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[3]
RECIPE = ROOT / "files" / "images" / "letta"


def unpacked() -> Path:
    """Give the folder, fetched on first use by the version and the hash that the recipe of the image names."""
    arguments = dict(
        re.findall(r"^ARG (\w+)=(\S+)$", (RECIPE / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    )
    version, digest = arguments["LETTA_VERSION"], arguments["LETTA_SDIST_SHA256"]
    target = ROOT / ".cache" / "sdist" / f"letta-{version}-{digest[:12]}" / f"letta-{version}"
    target.parents[1].mkdir(parents=True, exist_ok=True)
    # Tests run side by side, and once is enough.
    with (target.parents[1] / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not target.is_dir():
            _fetch(f"letta=={version} --hash=sha256:{digest}\n", target)
    return target


def _fetch(requirement: str, target: Path) -> None:
    partial = target.parent.with_suffix(".partial")
    partial.mkdir(parents=True, exist_ok=True)
    (partial / "requirement.txt").write_text(requirement, encoding="utf-8")
    # pip looks at what a source distribution says of itself, for which it needs its build backend.
    tools = partial / "tools"
    _run(sys.executable, "-m", "venv", "--clear", str(tools))
    pip = [str(tools / "bin" / "python"), "-m", "pip", "--quiet", "--disable-pip-version-check"]
    _run(*pip, "install", "--require-hashes", "--requirement", str(RECIPE / "build-requirements.txt"))
    _run(
        *pip, "download", "--require-hashes", "--no-deps", "--no-binary", "letta", "--no-build-isolation",
        "--requirement", str(partial / "requirement.txt"), "--dest", str(partial),
    )  # fmt: skip
    with tarfile.open(partial / f"{target.name}.tar.gz") as archive:
        archive.extractall(partial, filter="data")
    shutil.rmtree(tools)
    partial.rename(target.parent)


def _run(*argv: str) -> None:
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{' '.join(argv)} failed: {done.stdout}{done.stderr}")
