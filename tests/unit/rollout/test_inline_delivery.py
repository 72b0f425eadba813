# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""What is given inline is in a container before it starts, on the way forward and on the way back."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.rollout import Extras

from .machines import GOOD, Script
from .simulation import Host, roll_out

BEFORE, NOW = b"the archive of before", b"the archive of now"
CRASHES = Script(crashes_after=1.0)


def project(version: str, **more: Any) -> dict[str, Any]:
    web = {"image": "shop:1", "environment": {"VERSION": version}, **more}
    return {"name": "shop", "services": {"web": web, "other": {"image": "shop:1"}}}


@pytest.fixture
def host() -> Host:
    return Host()


def unpacked(host: Host) -> dict[str, bytes]:
    return {machine.service: machine.unpacked for machine in host.machines.values()}


def test_every_new_container_of_a_service_with_inline_files_gets_them_before_it_starts(host: Host) -> None:
    at_start: list[tuple[str, bytes]] = []
    start = host.start

    def watched(container_id: str) -> None:
        at_start.append((host.machines[container_id].service, host.machines[container_id].unpacked))
        start(container_id)

    host.start = watched  # type: ignore[method-assign]
    assert roll_out(host, project("1", scale=2), extras=Extras(archives={"web": NOW})).outcome == "deployed"
    assert sorted(at_start) == [("other", b""), ("web", NOW), ("web", NOW)]


def test_a_container_that_is_made_again_gets_what_the_removed_one_had(host: Host) -> None:
    fixed = {"container_name": "web"}
    assert roll_out(host, project("1", **fixed), extras=Extras(archives={"web": BEFORE})).outcome == "deployed"
    old = {machine.id for machine in host.machines.values() if machine.service == "web"}

    ended = roll_out(
        host,
        project("2", **fixed),
        {"web": [CRASHES, GOOD]},
        extras=Extras(archives={"web": NOW}, archives_before={"web": BEFORE}),
    )

    assert ended.outcome == "rolled_back", ended.message()
    assert unpacked(host)["web"] == BEFORE
    assert not old & set(host.machines)
