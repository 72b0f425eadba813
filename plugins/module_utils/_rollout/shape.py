# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What this version reads of Compose's normalised form, and the types that it expects there.

Compose checks its files itself before it prints them; this notices a Compose that prints something else.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from .errors import Problems


@dataclass(frozen=True)
class _Shape:
    """The type of one value; of a mapping also its keys that are read, of a collection the shape of all its values."""

    type: type
    words: str
    keys: Mapping[str, _Shape] = field(default_factory=dict)
    each: _Shape | None = None
    may_be_null: bool = False


_TEXT = _Shape(str, "text")
_COUNT = _Shape(int, "a whole number")
_FLAG = _Shape(bool, "true or false")


def _mapping(**keys: _Shape) -> _Shape:
    return _Shape(dict, "a mapping", keys=keys)


def _entry(**keys: _Shape) -> _Shape:
    """Give a mapping in whose place nothing may stand, as in `networks: {default: null}`."""
    return _Shape(dict, "a mapping", keys=keys, may_be_null=True)


def _each(shape: _Shape) -> _Shape:
    return _Shape(dict, "a mapping", each=shape)


def _list(shape: _Shape) -> _Shape:
    return _Shape(list, "a list", each=shape)


_DEPLOY = _mapping(
    mode=_TEXT,
    replicas=_COUNT,
    restart_policy=_mapping(condition=_TEXT, max_attempts=_COUNT),
    resources=_mapping(reservations=_mapping(devices=_list(_mapping()))),
)
_SERVICE = _entry(
    image=_TEXT,
    scale=_COUNT,
    deploy=_DEPLOY,
    depends_on=_each(_mapping(condition=_TEXT, restart=_FLAG)),
    pull_policy=_TEXT,
    restart=_TEXT,
    read_only=_FLAG,
    container_name=_TEXT,
    mac_address=_TEXT,
    network_mode=_TEXT,
    ipc=_TEXT,
    pid=_TEXT,
    uts=_TEXT,
    volumes_from=_list(_TEXT),
    expose=_list(_TEXT),
    ports=_list(_mapping(target=_COUNT, published=_TEXT, protocol=_TEXT)),
    networks=_each(_entry()),
    devices=_list(_mapping()),
    gpus=_list(_mapping()),
    volumes=_list(
        _mapping(type=_TEXT, source=_TEXT, target=_TEXT, read_only=_FLAG, bind=_mapping(create_host_path=_FLAG))
    ),
    configs=_list(_mapping(source=_TEXT, target=_TEXT)),
    secrets=_list(_mapping(source=_TEXT, target=_TEXT)),
    environment=_each(_Shape(str, "text", may_be_null=True)),
    post_start=_list(_mapping()),
    pre_stop=_list(_mapping()),
)
_FILE = _entry(file=_TEXT, content=_TEXT, environment=_TEXT)
_PROJECT = _mapping(
    name=_TEXT,
    services=_each(_SERVICE),
    networks=_each(_entry()),
    volumes=_each(_entry()),
    configs=_each(_FILE),
    secrets=_each(_FILE),
)


def check(data: Mapping[str, Any], problems: Problems) -> None:
    """Add a problem for each value of a normalised project that is read and has another type."""
    if not data.get("name"):
        problems.add("name: missing")
    _check(data, _PROJECT, "", problems)


def _check(value: Any, shape: _Shape, where: str, problems: Problems) -> None:
    # Exact: true is an int to Python.
    if not isinstance(value, shape.type) or (isinstance(value, bool) and shape.type is not bool):
        problems.add(f"{where}: must be {shape.words}")
        return
    if isinstance(value, list):
        children = [(f"{where}[{number}]", item, shape.each) for number, item in enumerate(value)]
    elif isinstance(value, dict):
        lead = f"{where}." if where else ""
        for key in value:
            if not isinstance(key, str):
                problems.add(f"{lead}{key}: must be text as a key")
        # A key without a value is one that is not there.
        children = [
            (f"{lead}{key}", item, shape.each or shape.keys.get(key))
            for key, item in value.items()
            if shape.each is not None or item is not None
        ]
    else:
        return
    for path, item, of_item in children:
        if of_item is not None and not (item is None and of_item.may_be_null):
            _check(item, of_item, path, problems)
