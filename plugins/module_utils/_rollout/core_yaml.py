# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Read the YAML that `docker compose config` prints.

PyYAML's SafeLoader implements YAML 1.1 and trips over what Compose, a YAML 1.2 writer, leaves unquoted: a bare
`=` or `<<` is an error, an unquoted date becomes a timestamp and `on` a boolean. This loader knows the YAML 1.2 core
schema only (https://yaml.org/spec/1.2.2/#103-core-schema).
"""

from __future__ import annotations

import re
from typing import Any

try:
    import yaml
except ImportError:  # reported by the module, which asks available()
    yaml = None  # type: ignore[assignment]

_CORE_SCHEMA = (
    ("tag:yaml.org,2002:null", r"^(?:~|null|Null|NULL|)$", ["~", "n", "N", ""]),
    ("tag:yaml.org,2002:bool", r"^(?:true|True|TRUE|false|False|FALSE)$", list("tTfF")),
    ("tag:yaml.org,2002:int", r"^(?:[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$", list("-+0123456789")),
    (
        "tag:yaml.org,2002:float",
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$",
        list("-+0123456789."),
    ),
)


def available() -> bool:
    """Whether this Python has PyYAML, without which nothing here works."""
    return yaml is not None


def _integer(loader: Any, node: Any) -> int:
    text = loader.construct_scalar(node)
    if text[:2] in ("0o", "0x"):
        return int(text, 0)
    return int(text)  # YAML 1.2: a leading zero is no octal


def _resolve_core_schema(reader_or_writer: Any) -> None:
    for tag, pattern, first in _CORE_SCHEMA:
        reader_or_writer.add_implicit_resolver(tag, re.compile(pattern), first)


def _core_loader() -> Any:
    class CoreSchemaLoader(yaml.SafeLoader):
        pass

    # Not added to: YAML 1.1's resolvers would stay, `<<` and `=` among them.
    CoreSchemaLoader.yaml_implicit_resolvers = {}
    _resolve_core_schema(CoreSchemaLoader)
    CoreSchemaLoader.add_constructor("tag:yaml.org,2002:int", _integer)
    return CoreSchemaLoader


def _careful_dumper() -> Any:
    class CarefulDumper(yaml.SafeDumper):
        pass

    _resolve_core_schema(CarefulDumper)
    return CarefulDumper


def load(text: str) -> Any:
    """Parse one YAML document by the YAML 1.2 core schema.

    Raises ValueError with the position when the text is no YAML.
    """
    try:
        # A subclass of SafeLoader: it constructs plain data only.
        loader = _core_loader()(text)
        try:
            return loader.get_single_data()
        finally:
            loader.dispose()
    except yaml.YAMLError as error:
        raise ValueError(f"not valid YAML: {error}") from error


def unescaped(data: Any) -> Any:
    """Give data with the dollar signs that were meant: Compose doubles each one in what it normalises."""
    if isinstance(data, str):
        return data.replace("$$", "$")
    if isinstance(data, list):
        return [unescaped(item) for item in data]
    if isinstance(data, dict):
        return {unescaped(key): unescaped(value) for key, value in data.items()}
    return data


def dump(data: Any) -> str:
    """Write data as block YAML, keys in the order given.

    Text that YAML 1.1 or 1.2 would take for something else is quoted: plain `1e3` or `0899` is a number to Compose.
    """
    return str(yaml.dump(data, Dumper=_careful_dumper(), sort_keys=False, default_flow_style=False, width=120))
