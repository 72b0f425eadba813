# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Measures what a rollout costs, beside Docker Compose and community.docker: python -m tests.bench [ROW...]

Results are written row by row, so a row can be measured again by itself:

    make bench                                           all rows, into .cache/bench
    make bench BENCH_ARGS='--runs 2 nothing_to_do'       a quick look at one of them
    make bench BENCH_ARGS='--publish'                    into docs/bench, and the tables into the README
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

from . import bad_version, nothing_to_do, plot, replacement, return_time, tables
from .bench import CACHE, ROOT, conditions, opened, versions

ROWS: dict[str, ModuleType] = {
    module.__name__.rpartition(".")[2]: module for module in (replacement, return_time, nothing_to_do, bad_version)
}
PUBLISHED = ROOT / "docs" / "bench"


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m tests.bench",
        description=(__doc__ or "").partition("\n\n")[2],
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("rows", nargs="*", metavar="ROW", help=f"of {', '.join(ROWS)}; all of them by default")
    parser.add_argument("--runs", type=int, default=10, help="times that each thing is measured (default: %(default)s)")
    parser.add_argument("--publish", action="store_true", help="write docs/bench and the README, not .cache/bench")
    options = parser.parse_args()
    unknown = sorted(set(options.rows) - set(ROWS))
    if unknown:
        parser.error(f"there is no row {', '.join(unknown)}; allowed are {', '.join(ROWS)}")
    if options.runs < 1:
        parser.error("--runs is 1 or more")

    folder = PUBLISHED if options.publish else CACHE
    folder.mkdir(parents=True, exist_ok=True)
    reached = True
    with opened() as bench:
        present = versions(bench)
        for name in options.rows or ROWS:
            began, row = time.monotonic(), ROWS[name]
            measured = {"conditions": conditions(present, options.runs), **row.measure(bench, options.runs)}
            measured["targets"] = row.targets(measured["summary"])
            results = _written(folder, name, measured)
            print(f"\n{tables.of(results, name)}\n\n{name} took {time.monotonic() - began:.0f} s\n", flush=True)
            reached = reached and all(measured["targets"].values())
    if options.publish:
        subprocess.run([sys.executable, "tests/tools/docs.py"], cwd=ROOT, check=True)
    return 0 if reached else 1


def _written(folder: Path, name: str, measured: dict[str, Any]) -> dict[str, Any]:
    """Put one row into the results, and draw them anew; gives all of them."""
    file = folder / "results.json"
    results: dict[str, Any] = json.loads(file.read_text(encoding="utf-8")) if file.exists() else {}
    merged = {**results, name: measured}
    results = {row: merged[row] for row in ROWS if row in merged}
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    partial.replace(file)
    (folder / "results.svg").write_text(plot.draw(results), encoding="utf-8")
    return results


if __name__ == "__main__":
    sys.exit(main())
