# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a run of a plan is put together from: the real host, and what the last commit and the task add to the plan."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from . import hook_spec, inline_files, mounted_files, policy_spec
from .clock import Clock
from .contents import Contents
from .errors import Problems
from .interrupts import Interrupts
from .lifecycle import Hooks
from .policy import Overrides, Policy
from .probe import HostChecker
from .release import Committed
from .request import Request
from .rollout import Extras, Host
from .spec import Project
from .survey import Survey


def host(survey: Survey, clock: Clock, interrupts: Interrupts) -> Host:
    """Give the host that was surveyed, as what a run acts on."""
    return Host(
        engine=survey.engine,
        compose=survey.compose,
        compose_before=survey.compose_before,
        clock=clock,
        checker=HostChecker(survey.engine),
        router=survey.router,
        interrupts=interrupts,
    )


def extras(project: Project, found: Contents, before: Committed, asked: Request) -> Extras:
    """Give what a run needs to know beside its plan."""
    # Read without a problem when it was rolled out.
    files_before = mounted_files.of_config(before.config, Problems())
    return Extras(
        hooks_before=_hooks(before.services),
        needs_before={name: frozenset(each.get("depends_on") or ()) for name, each in before.services.items()},
        policies_before=_policies(before.services),
        archives=inline_files.archives(mounted_files.of_project(project), found.values),
        archives_before=inline_files.archives(files_before, before.contents.values),
        final_checks=asked.final_checks,
        log_lines=asked.log_lines,
    )


def _hooks(services: Mapping[str, Any]) -> dict[str, Hooks]:
    ignored = Problems()
    return {
        name: Hooks(
            hook_spec.hooks(config, "post_start", name, ignored), hook_spec.hooks(config, "pre_stop", name, ignored)
        )
        for name, config in services.items()
    }


def _policies(services: Mapping[str, Any]) -> dict[str, Policy]:
    ignored, nothing_asked = Problems(), Overrides()
    return {name: policy_spec.policy(config, name, nothing_asked, ignored) for name, config in services.items()}
