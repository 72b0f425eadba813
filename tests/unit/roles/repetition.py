# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Spares a rendering what an earlier one did with the same result: a play renders a file once, tests hundreds of times.

Ansible compiles every template anew for every Templar, and for every file that it renders it copies all variables with
each text and where that is from. The first is half of the time of a rendering, the second half of the rest.
"""

from __future__ import annotations

import copy
from functools import wraps
from typing import Any

from ansible._internal._datatag._tags import Origin
from ansible._internal._templating._jinja_bits import _TemplateCompileContext
from ansible.module_utils._internal._datatag import _AnsibleTaggedStr
from jinja2 import Environment


def _compile_once() -> None:
    """Keep the code of every template that is a text, for the environments in which the text means the same."""
    compiled = Environment.compile
    known: dict[tuple[Any, ...], Any] = {}

    @wraps(compiled)
    def remembered(self: Environment, source: Any, *names: Any) -> Any:
        if not isinstance(source, str):
            return compiled(self, source, *names)
        # Ansible reads backslashes of a variable as they are, and those of a file as Jinja does.
        context = _TemplateCompileContext.current(optional=True)
        escapes = context is not None and context.escape_backslashes
        # Environments with the same delimiters share their lexer.
        key = (type(self), self.lexer, escapes, source, *names)
        if key not in known:
            known[key] = compiled(self, source, *names)
        return known[key]

    Environment.compile = remembered  # type: ignore[method-assign]


def _share_texts() -> None:
    """Let a deep copy share texts that say where they are from, and that itself, as it shares all other texts."""
    for unchanging in (_AnsibleTaggedStr, Origin):
        copy._deepcopy_dispatch[unchanging] = copy._deepcopy_atomic  # type: ignore[attr-defined]


def spare() -> None:
    """From now on renderings repeat less."""
    _compile_once()
    _share_texts()
