# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Another variant on a host: what of the one before goes, and what would leave data behind is refused."""

from __future__ import annotations

import pytest

COMPLAINTS = "{{ __letta_stack_switch_complaints }}"
SWITCH = "{{ __letta_stack_is_switch }}"
EXTERNAL = {"letta_stack_external_db": {"host": "db.example.com"}, "letta_stack_db_password": "Password1234"}


def container(service, *volumes, oneoff=False, project="letta"):
    """A container as the engine lists it."""
    return {
        "Labels": {
            "com.docker.compose.service": service,
            "com.docker.compose.oneoff": "True" if oneoff else "False",
        },
        "Mounts": [{"Type": "volume", "Name": f"{project}_{name}"} for name in volumes]
        + [{"Type": "bind", "Source": "/opt/letta/files/x"}],
    }


PRODUCTION = [
    container("letta_db", "letta_db"),
    container("redis"),
    container("migrate"),
    container("letta_server"),
    container("nginx"),
]


def on_a_host(render, template, containers, **settings):
    engine = {"host_info": {"NCPU": 2}, "volumes": [], "containers": containers}
    return render("letta_stack", template, __letta_stack_engine=engine, **settings)


@pytest.mark.parametrize("containers", [[], PRODUCTION], ids=["bare", "as it is"])
def test_the_same_again_is_no_switch(render, containers):
    assert on_a_host(render, COMPLAINTS, containers) == []
    assert on_a_host(render, SWITCH, containers) is False


def test_services_go_whose_data_the_new_variant_has(render):
    assert on_a_host(render, COMPLAINTS, PRODUCTION, letta_stack_variant="data_services") == []
    assert on_a_host(render, SWITCH, PRODUCTION, letta_stack_variant="data_services") is True


def test_what_a_variant_adds_removes_nothing(render):
    before = [container("letta_db", "letta_db"), container("redis")]
    assert on_a_host(render, COMPLAINTS, before) == []
    assert on_a_host(render, SWITCH, before) is False


def test_a_cache_is_no_data(render):
    assert on_a_host(render, COMPLAINTS, [*PRODUCTION, container("nginx", "vllm")]) == []


def test_data_are_not_left_behind(render):
    (found,) = on_a_host(render, COMPLAINTS, PRODUCTION, **EXTERNAL)
    assert "letta_db of the project letta on this host keep data in the volume letta_db" in found
    assert "letta_stack_leave_data to [letta_db]" in found
    assert on_a_host(render, SWITCH, PRODUCTION, **EXTERNAL) is True


def test_unless_that_is_what_is_wanted(render):
    assert on_a_host(render, COMPLAINTS, PRODUCTION, letta_stack_leave_data=["letta_db"], **EXTERNAL) == []


def test_what_was_taken_down_stands_in_nobodys_way(render):
    """The volume is there still, and so are its secrets."""
    assert on_a_host(render, COMPLAINTS, [], **EXTERNAL) == []


def test_what_somebody_else_put_there_is_not_removed_with_the_variant(render):
    stranger = container("adminer")
    assert on_a_host(render, COMPLAINTS, [*PRODUCTION, stranger]) == []
    assert on_a_host(render, SWITCH, [*PRODUCTION, stranger]) is False
    (found,) = on_a_host(render, COMPLAINTS, [*PRODUCTION, stranger], letta_stack_variant="data_services")
    assert "letta_server, migrate, nginx would be removed, and with them adminer" in found


def test_a_command_that_somebody_runs_in_the_project_is_no_service(render):
    assert on_a_host(render, SWITCH, [*PRODUCTION, container("psql", oneoff=True)]) is False


def test_the_volume_of_another_project_is_not_this_ones(render):
    strange = [*PRODUCTION, container("letta_server", "data", project="other")]
    assert on_a_host(render, COMPLAINTS, strange, letta_stack_variant="data_services") == []


def test_another_product_does_not_take_the_place_of_data(render):
    (found,) = on_a_host(render, COMPLAINTS, PRODUCTION, letta_stack_variant="app_server")
    assert "keep data in the volume letta_db, which no service of app_server" in found
    successor = [container("app_server", "app_server"), container("nginx")]
    (found,) = on_a_host(render, COMPLAINTS, successor, letta_stack_variant="production")
    assert "keep data in the volume app_server, which no service of production" in found
    assert on_a_host(render, COMPLAINTS, successor, letta_stack_variant="app_server") == []
