# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes the reference documentation from its one source.

Roles: ``meta/argument_specs.yml`` becomes the table between ``<!-- arguments -->`` and ``<!-- /arguments -->`` of the
role's README. Modules: their own documentation, as ``ansible-doc`` reads it, becomes ``docs/modules/NAME.md``. Benches:
``docs/bench/results.json`` becomes the picture beside it and the tables between ``<!-- bench -->`` and
``<!-- /bench -->`` of the README.

``--check`` writes nothing and fails when a file is not what it would write.
"""

from __future__ import annotations

import argparse
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

from tests.bench import plot, tables  # noqa: E402  found by the line above

# A default longer than this is read better where it stands, if a reader has that at hand.
LONGEST_DEFAULT = 60

Options = dict[str, dict[str, Any]]


def prose(text: str | list[str]) -> str:
    """Ansible's markup as Markdown, on one line: ``O(name)``, ``V(value)``, ``U(url)`` and their like."""
    joined = text if isinstance(text, str) else " ".join(text)
    joined = re.sub(r"\bL\(([^,]+),\s*([^)]+)\)", r"[\1](\2)", joined)
    joined = re.sub(r"\bU\(([^)]+)\)", r"<\1>", joined)
    joined = re.sub(r"\b[BI]\(([^)]+)\)", r"*\1*", joined)
    joined = re.sub(r"\b(?:O|V|C|E|RV|M|P)\(([^)]+)\)", lambda match: code(match[1]), joined)
    return " ".join(joined.split())


def code(text: str) -> str:
    """Inline code; a bar would end the table's cell, even in code."""
    return f"`{text}`".replace("|", "\\|")


def literal(value: object) -> str:
    """A value as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000, allow_unicode=True, sort_keys=False)
    return text.removesuffix("\n").removesuffix("\n...")


def kind(option: dict[str, Any]) -> str:
    """The type, with that of a list's elements."""
    name = str(option.get("type", "str"))
    return f"{name} of {option['elements']}" if name == "list" and "elements" in option else name


def default(option: dict[str, Any], elsewhere: str) -> str:
    """The default's cell; `elsewhere` says where a long one stands, and is empty where it stands nowhere else."""
    if option.get("required"):
        return "**required**"
    if option.get("default") is None:
        return ""
    text = literal(option["default"])
    return elsewhere if elsewhere and len(text) > LONGEST_DEFAULT else code(text)


def rows(options: Options, elsewhere: str, prefix: str = "") -> list[str]:
    """The table's rows, an option's suboptions after it as ``option.suboption``."""
    lines: list[str] = []
    for name, option in options.items():
        text = prose(option.get("description", ""))
        if option.get("choices"):
            text += " One of " + ", ".join(code(literal(choice)) for choice in option["choices"]) + "."
        cells = (code(prefix + name), kind(option), default(option, elsewhere), text.replace("\n", " "))
        lines.append("| " + " | ".join(cells) + " |")
        sub = option.get("options") or option.get("suboptions")
        if sub:
            lines += rows(sub, elsewhere, f"{prefix}{name}.")
    return lines


def table(options: Options, elsewhere: str = "") -> str:
    """A Markdown table of options."""
    head = ["| Name | Type | Default | What it is |", "|---|---|---|---|"]
    return "\n".join(head + rows(options, elsewhere))


def role_tables(role: Path) -> str:
    """What belongs between the markers: a table for each entry point, ``main`` without a heading."""
    specs = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text(encoding="utf-8"))["argument_specs"]
    shared = specs.get("main", {}).get("options")
    parts: list[str] = []
    for entry, spec in specs.items():
        if entry != "main":
            parts.append(f"### `tasks_from: {entry}`\n\n{prose(spec.get('description', spec['short_description']))}")
        if entry != "main" and shared and spec.get("options") == shared:
            parts.append("It takes the variables above.")
        elif spec.get("options"):
            parts.append(table(spec["options"], "see [defaults](defaults/main.yml)"))
    return "\n\n".join(parts)


def role_readme(role: Path) -> str:
    """The role's README with fresh tables."""
    return between(role / "README.md", "arguments", role_tables(role))


def between(file: Path, name: str, content: str) -> str:
    """The file's text with other content between its markers of this name."""
    begin, end = f"<!-- {name} -->", f"<!-- /{name} -->"
    text = file.read_text(encoding="utf-8")
    if text.count(begin) != 1 or text.count(end) != 1:
        raise SystemExit(f"{file.relative_to(ROOT)}: one {begin} and one {end} are needed, for what is generated")
    before, rest = text.split(begin)
    after = rest.split(end)[1]
    return f"{before}{begin}\n{content}\n{end}{after}"


def bench_pages() -> dict[Path, str]:
    """The benches' picture and the README's tables, where results are published."""
    folder = ROOT / "docs" / "bench"
    if not (folder / "results.json").exists():
        return {}
    results = json.loads((folder / "results.json").read_text(encoding="utf-8"))
    shown = f"{tables.section(results)}\n\n![A dot for each run, a bar for the median](docs/bench/results.svg)"
    return {
        folder / "results.svg": plot.draw(results),
        ROOT / "README.md": between(ROOT / "README.md", "bench", shown),
    }


def return_rows(values: Options, prefix: str = "") -> list[str]:
    """The rows of a module's return values."""
    lines: list[str] = []
    for name, value in values.items():
        cells = (code(prefix + name), kind(value), prose(value.get("returned", "")), prose(value["description"]))
        lines.append("| " + " | ".join(cells) + " |")
        if value.get("contains"):
            lines += return_rows(value["contains"], f"{prefix}{name}.")
    return lines


def module_page(name: str, document: dict[str, Any]) -> str:
    """A module's page."""
    doc = document["doc"]
    description = doc["description"] if isinstance(doc["description"], list) else [doc["description"]]
    parts = [
        f"# {name}\n\n{prose(doc['short_description'])}.",
        "\n".join(f"- {prose(line)}" for line in description),
    ]
    if doc.get("requirements"):
        parts.append("## Needed on the host\n\n" + "\n".join(f"- {prose(line)}" for line in doc["requirements"]))
    parts.append("## Parameters\n\n" + table(doc.get("options", {})))
    if doc.get("attributes"):
        lines = ["| Attribute | Support | |", "|---|---|---|"]
        for attribute, value in doc["attributes"].items():
            details = prose(value.get("details") or value.get("description", ""))
            lines.append(f"| {code(attribute)} | {value.get('support', '')} | {details} |")
        parts.append("## Attributes\n\n" + "\n".join(lines))
    if doc.get("notes"):
        parts.append("## Notes\n\n" + "\n".join(f"- {prose(line)}" for line in doc["notes"]))
    if document.get("examples"):
        parts.append("## Examples\n\n```yaml\n" + document["examples"].strip("\n") + "\n```")
    if document.get("return"):
        head = ["| Name | Type | Returned | What it is |", "|---|---|---|---|"]
        parts.append("## Return values\n\n" + "\n".join(head + return_rows(document["return"])))
    return "\n\n".join(parts) + "\n"


def modules() -> dict[str, dict[str, Any]]:
    """Every module of the collection by its full name, as ``ansible-doc`` reads it."""
    names = sorted(
        f"agentfleet.letta.{path.stem}"
        for path in (ROOT / "plugins" / "modules").glob("*.py")
        if not path.stem.startswith("_")
    )
    if not names:
        return {}
    command = ["ansible-doc", "--json", "--type", "module", *names]
    answer = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    documents: dict[str, dict[str, Any]] = json.loads(answer.stdout)
    missing = set(names) - set(documents)
    if missing:
        raise SystemExit(f"ansible-doc cannot read {', '.join(sorted(missing))}:\n{answer.stderr}")
    return documents


def pages() -> dict[Path, str]:
    """Every generated file with what it has to hold."""
    roles = sorted(spec.parents[1] for spec in (ROOT / "roles").glob("*/meta/argument_specs.yml"))
    wanted = {role / "README.md": role_readme(role) for role in roles}
    wanted.update(bench_pages())
    for name, document in modules().items():
        wanted[ROOT / "docs" / "modules" / f"{name.rpartition('.')[2]}.md"] = module_page(name, document)
    return wanted


def main() -> int:
    """Write the pages, or say which differ."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--check", action="store_true", help="write nothing; fail when a file is out of date")
    check = parser.parse_args().check

    wanted = pages()
    stale = [path for path, text in wanted.items() if not path.exists() or path.read_text(encoding="utf-8") != text]
    orphans = [path for path in (ROOT / "docs" / "modules").glob("*.md") if path not in wanted]
    if check:
        for path in [*stale, *orphans]:
            print(f"{path.relative_to(ROOT)} is out of date: run `make docs`", file=sys.stderr)
        return 1 if stale or orphans else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(wanted[path], encoding="utf-8")
        print(f"wrote {path.relative_to(ROOT)}")
    for path in orphans:
        path.unlink()
        print(f"removed {path.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
