# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Sort a Letta server's environment into what may be shown and what is secret, and say what is wrong with it."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Mapping, Sequence
from typing import Any
from urllib.parse import urlsplit

from ansible.errors import AnsibleFilterError

# Ansible blots out each secret wherever it occurs in what a module returns; a short one would occur in names of files.
SHORTEST_SECRET = 8

DOCUMENTATION = r"""
name: letta_environment
short_description: Check and sort the environment of a Letta server
version_added: 0.1.0
author:
  - agentfleet.letta contributors
description:
  - Checks a dictionary of environment variables against the table of those that a Letta server reads.
  - A secret that is shorter than 8 characters is refused, because it occurs by chance in what is no secret.
  - An unset variable is one that is not in the dictionary. An empty string is refused, because Letta takes it for a
    value.
  - No message of this filter holds a value, so that it can be shown when the value is a secret.
positional: _input
options:
  _input:
    description: Names and values.
    type: dict
    required: true
  known:
    description:
      - The variables that may be set. Each has a C(type) (V(str), V(int), V(float), V(bool), V(url), V(json_list)),
        and may have C(secret), C(min), C(max), C(choices) and C(trailing_slash).
    type: dict
    required: true
  reserved:
    description: Variables that are not to be set here, each with what to do instead.
    type: dict
    default: {}
  dead:
    description:
      - Variables that nothing reads, each with what to use. A name that ends in C(*) stands for all that begin with it.
    type: dict
    default: {}
  groups:
    description: Lists of variables of which all or none must be set.
    type: list
    elements: list
    default: []
  needs:
    description: Variables that are of no use without one of others, which they name.
    type: dict
    default: {}
  conflicts:
    description: Lists of variables of which no more than one may be set.
    type: list
    elements: list
    default: []
"""

EXAMPLES = r"""
- name: Refuse what a Letta server would ignore
  ansible.builtin.assert:
    that: __sorted.errors | length == 0
    fail_msg: "{{ __sorted.errors | join('\n') }}"
  vars:
    __sorted: "{{ letta_stack_environment | agentfleet.letta.letta_environment(known=__table) }}"
"""

RETURN = r"""
_value:
  description: >-
    A dictionary of C(public) and C(secret), both with the values as the strings that a process gets, and C(errors),
    a list of sentences.
  type: dict
"""


def letta_environment(
    environment: Any,
    known: Mapping[str, Mapping[str, Any]],
    reserved: Mapping[str, str] | None = None,
    dead: Mapping[str, str] | None = None,
    groups: Sequence[Sequence[str]] = (),
    needs: Mapping[str, Sequence[str]] | None = None,
    conflicts: Sequence[Sequence[str]] = (),
) -> dict[str, Any]:
    """Return ``{"public": {...}, "secret": {...}, "errors": [...]}`` for a dictionary of variables.

    The order of the result is that of the names, so that equal settings render equal files.
    """
    if not isinstance(environment, Mapping):
        raise AnsibleFilterError("letta_environment: expects a dictionary of variables")
    public: dict[str, str] = {}
    secret: dict[str, str] = {}
    errors: list[str] = []
    for name in sorted(environment, key=str):
        rule = known.get(name)
        if rule is None:
            errors.append(_refusal(str(name), known, reserved or {}, dead or {}))
            continue
        text, complaint = _text(environment[name], rule)
        if complaint:
            errors.append(f"{name}: {complaint}")
        elif rule.get("secret"):
            secret[name] = text
        else:
            public[name] = text
    for group in groups:
        missing = [name for name in group if name not in environment]
        if missing and len(missing) < len(group):
            present = [name for name in group if name in environment]
            errors.append(f"{', '.join(present)}: of no use without {', '.join(missing)}; set all of them or none")
    for name, others in (needs or {}).items():
        if name in environment and public.get(name) != "false" and not any(other in environment for other in others):
            errors.append(f"{name}: of no use without {' or '.join(others)}")
    for group in conflicts:
        present = [name for name in group if name in environment]
        if len(present) > 1:
            errors.append(f"{', '.join(present)}: only one of them can be set")
    return {"public": public, "secret": secret, "errors": errors}


def _refusal(
    name: str,
    known: Mapping[str, Mapping[str, Any]],
    reserved: Mapping[str, str],
    dead: Mapping[str, str],
) -> str:
    """Say why a variable that is not in the table may not be set, with the best advice there is."""
    if name in reserved:
        return f"{name}: set by the role: {reserved[name]}"
    for pattern, advice in dead.items():
        if name == pattern or (pattern.endswith("*") and name.startswith(pattern[:-1])):
            return f"{name}: has no effect: {advice}"
    for candidate in (name.upper(), f"LETTA_{name.upper()}", name.upper().replace("-", "_")):
        if candidate in known:
            return f"{name}: not a variable of the Letta server; did you mean {candidate}?"
    close = difflib.get_close_matches(name.upper(), [*known, *reserved], n=1, cutoff=0.75)
    hint = f"; did you mean {close[0]}?" if close else "; the role's README lists those that there are"
    return f"{name}: not a variable of the Letta server{hint}"


def _text(value: Any, rule: Mapping[str, Any]) -> tuple[str, str]:
    """Return a value as the text that a process gets, and what is wrong with it (empty when nothing is)."""
    if value is None or value == "":
        return "", "is empty; leave the variable out to have it unset (Letta takes an empty string for a value)"
    kind = rule["type"]
    if kind == "bool":
        return _bool(value)
    if kind in ("int", "float"):
        return _number(value, kind, rule)
    if kind == "json_list":
        return _json_list(value)
    if isinstance(value, (Mapping, list, tuple, bool)):
        return "", "must be a string"
    text = str(value)
    if text != text.strip() or any(ord(character) < 32 or ord(character) == 127 for character in text):
        return "", "must be one line without spaces around it"
    if rule.get("secret") and len(text) < SHORTEST_SECRET:
        return "", (
            f"is a secret of fewer than {SHORTEST_SECRET} characters; give the whole key, or, to a server that wants "
            "any, a longer one such as not-needed"
        )
    if "choices" in rule and text not in rule["choices"]:
        return "", f"must be one of {', '.join(map(repr, rule['choices']))}"
    if kind == "url":
        return text, _url_complaint(text, rule)
    return text, ""


def _bool(value: Any) -> tuple[str, str]:
    text = str(value).lower()
    return (text, "") if text in ("true", "false") else ("", "must be true or false")


def _number(value: Any, kind: str, rule: Mapping[str, Any]) -> tuple[str, str]:
    low, high = rule.get("min"), rule.get("max")
    bounds = "".join(
        [f" of at least {low}" if low is not None else "", f" and at most {high}" if high is not None else ""]
    )
    complaint = f"must be {'a whole number' if kind == 'int' else 'a number'}{bounds}"
    if isinstance(value, bool):
        return "", complaint
    try:
        number = int(str(value)) if kind == "int" else float(str(value))
    except ValueError:
        return "", complaint
    in_bounds = (low is None or number >= low) and (high is None or number <= high)
    return (str(value), "") if math.isfinite(number) and in_bounds else ("", complaint)


def _json_list(value: Any) -> tuple[str, str]:
    complaint = "must be a list of strings"
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return "", complaint
    if not isinstance(value, (list, tuple)) or not all(isinstance(item, str) and item for item in value):
        return "", complaint
    return json.dumps([str(item) for item in value]), ""


def _url_complaint(text: str, rule: Mapping[str, Any]) -> str:
    try:
        parts = urlsplit(text)
        host = parts.hostname
    except ValueError:
        return "must be a URL such as http://host:8000/v1"
    if not parts.scheme or not host:
        return "must be a URL such as http://host:8000/v1"
    if parts.password is not None:
        return "must not carry a password: it would stand in compose.yaml and in docker inspect"
    if text.endswith("/") and not rule.get("trailing_slash", True):
        return "must not end in a slash: Letta appends to it and stores the result"
    return ""


class FilterModule:
    """Offers the filter to Ansible."""

    def filters(self) -> dict[str, Any]:
        """Return the filters of this file by name."""
        return {"letta_environment": letta_environment}
