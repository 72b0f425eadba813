# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""From what runs and what should run to one action a service, with its reasons."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import plan, planner, proxy, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import PlanError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.observe import Container

from . import samples

IMAGE, OTHER_IMAGE = f"sha256:{'a' * 64}", f"sha256:{'b' * 64}"
DATA = {"volumes": [{"type": "volume", "source": "data", "target": "/data"}]}


def running(service: str = "web", number: int = 1, **changes: Any) -> Container:
    """A container of the present version, unless told otherwise."""
    facts = {"config_hash": "new", "image_id": IMAGE, "image": "shop:1", "restart_policy": samples.NO_POLICY}
    name = f"shop-{service}-{number}"
    return samples.container(**{"id": name, "name": name, "service": service, "number": number, **facts, **changes})


def stale(service: str = "web", number: int = 1, **changes: Any) -> Container:
    return running(service, number, config_hash="old", **changes)


def made(
    project: spec.Project, *containers: Container, committed: Any = None, image: str | None = IMAGE, **options: Any
) -> plan.Plan:
    return planner.make_plan(
        project=project,
        containers=containers,
        facts=plan.Facts(
            hashes=dict.fromkeys(project.services, "new"),
            images={service.image: image for service in project.services.values()},
            committed=committed or {},
            **options.get("facts", {}),
        ),
        remove_orphans=options.get("remove_orphans", False),
    )


def step(*containers: Container, committed: Any = None, image: str | None = IMAGE, **config: Any) -> plan.ServicePlan:
    """The plan for a service `web` of this configuration."""
    return made(samples.project(web=config), *containers, committed=committed, image=image).services[0]


def names(containers: Sequence[Container]) -> list[str]:
    return [container.name for container in containers]


def test_nothing_to_do_where_it_runs_as_it_should() -> None:
    planned = step(running())
    assert (planned.action, names(planned.keep), planned.reasons) == ("none", ["shop-web-1"], ())


def test_a_service_without_container_gets_its_first_ones() -> None:
    planned = step(deploy={"replicas": 2})
    assert (planned.action, planned.create, planned.reasons) == ("create", 2, ("it has no container",))


def test_a_changed_configuration_is_an_update_that_names_the_change() -> None:
    planned = step(stale(), committed={"web": {"image": "shop:1", "user": "1"}}, user="2")
    assert (planned.action, planned.create, names(planned.retire)) == ("update", 1, ["shop-web-1"])
    assert planned.reasons == ("user: 1 -> 2",)


def test_a_moved_tag_is_an_update_that_names_both_images() -> None:
    planned = step(running(image_id=OTHER_IMAGE))
    assert planned.reasons == ("image shop:1: bbbbbbbbbbbb -> aaaaaaaaaaaa",)


def test_an_image_that_is_not_there_yet_is_said_to_be_missing() -> None:
    planned = step(running(), image=None)
    assert (planned.action, planned.reasons) == ("update", ("image shop:1 is not on this host yet",))


def test_another_hash_of_the_same_configuration_is_laid_to_compose() -> None:
    planned = step(stale(), committed={"web": {"image": "shop:1"}})
    assert planned.reasons == ("Compose computes another hash for the same configuration",)


def test_an_update_without_a_commit_before_it_says_what_it_can() -> None:
    assert step(stale()).reasons == ("its configuration is another one",)


def test_more_replicas_are_scaled_up_and_fewer_down_to_those_that_serve() -> None:
    up = step(running(), deploy={"replicas": 3})
    assert (up.action, up.create, up.reasons) == ("scale", 2, ("1 -> 3 containers",))
    down = step(running(number=1, status="exited"), running(number=2), running(number=3))
    assert (down.action, names(down.keep), names(down.retire)) == (
        "scale",
        ["shop-web-2"],
        ["shop-web-3", "shop-web-1"],
    )


def test_a_stopped_one_is_repaired_an_unhealthy_one_waited_for() -> None:
    stopped = step(running(status="exited"))
    assert (stopped.action, names(stopped.watch), stopped.reasons) == (
        "repair",
        ["shop-web-1"],
        ("shop-web-1 is exited",),
    )
    unhealthy = step(running(health="unhealthy"))
    assert (unhealthy.action, unhealthy.reasons) == ("wait", ("shop-web-1 is unhealthy",))


def test_a_restart_policy_that_a_killed_run_left_is_repaired() -> None:
    planned = step(running(), restart="always")
    assert (planned.action, names(planned.watch)) == ("repair", ["shop-web-1"])
    assert planned.reasons == ("shop-web-1 has restart policy no instead of always",)


def test_auto_is_start_first_where_nothing_is_exclusive() -> None:
    assert (step(stale()).order, step(stale()).interrupts) == ("start_first", False)


def test_auto_is_stop_first_with_its_reason_where_something_is() -> None:
    planned = step(stale(), **DATA)
    assert (planned.order, planned.interrupts) == ("stop_first", True)
    assert planned.reasons[-1] == "the old one stops first: read-write mount /data"


def test_stop_first_is_done_when_asked_for() -> None:
    planned = step(stale(), deploy={"update_config": {"order": "stop-first"}})
    assert (planned.order, planned.reasons[-1]) == ("stop_first", "stop_first was asked for")


def test_start_first_is_refused_where_something_is_exclusive() -> None:
    with pytest.raises(PlanError, match=r"web: order start_first is impossible.*read-write mount /data.*Allowed here"):
        step(stale(), deploy={"update_config": {"order": "start-first"}}, **DATA)


def test_a_right_one_that_stands_still_beside_a_wrong_one_at_work_waits_for_its_stop() -> None:
    planned = step(running(status="exited"), stale(number=2), **DATA)
    assert (planned.order, names(planned.watch), names(planned.retire)) == (
        "stop_first",
        ["shop-web-1"],
        ["shop-web-2"],
    )


def test_an_anonymous_volume_is_refused_by_its_path_unless_it_may_be_lost() -> None:
    old = stale(anonymous_volumes=("/var/lib/data",))
    with pytest.raises(PlanError, match=r"web: .*anonymous volume at /var/lib/data.*x-rollout\.anonymous_volumes"):
        step(old)
    assert step(old, **{"x-rollout": {"anonymous_volumes": "discard"}}).action == "update"


def test_an_anonymous_volume_is_no_matter_while_its_container_stays() -> None:
    assert step(running(anonymous_volumes=("/data",))).action == "none"


def test_a_fixed_name_is_recreated_where_a_record_leads_back() -> None:
    project = samples.project(web={"container_name": "web"})
    with pytest.raises(PlanError, match=r"web: shop-web-1 has to be removed .*no rollout has recorded"):
        made(project, stale())
    planned = made(project, stale(), committed={"web": {}})
    assert (planned.services[0].action, planned.services[0].order) == ("update", "recreate")
    assert any("web: rollback: inexact" in warning for warning in planned.warnings)
    # Nothing serves that would have to come back.
    assert made(project, stale(status="exited", health=None)).services[0].order == "recreate"


def test_what_others_link_to_is_removed_first_so_that_the_new_one_has_its_name() -> None:
    web = {"links": ["api:backend"], "depends_on": {"api": {"condition": "service_started"}}}
    api, linking = made(samples.project(api={}, web=web), stale("api"), running("web"), committed={"api": {}}).services
    assert (api.order, linking.action) == ("recreate", "none")
    assert "the old one is removed first: web has a link to it" in api.reasons


def test_every_service_without_a_safe_way_is_named_at_once() -> None:
    project = samples.project(a={"container_name": "a"}, b={}, c={})
    old = [stale("a"), stale("b", anonymous_volumes=("/b",)), stale("c", anonymous_volumes=("/c",))]
    with pytest.raises(PlanError, match=r"a: .*; b: .*/b.*; c: .*/c"):
        made(project, *old)


@pytest.mark.parametrize(
    "config",
    [
        {"network_mode": "service:app"},
        {"ipc": "service:app"},
        {"pid": "service:app"},
        {"volumes_from": ["app:ro"]},
    ],
)
def test_what_is_bound_to_a_replaced_container_is_replaced_after_it(config: dict[str, Any]) -> None:
    project = samples.project(app={}, sidecar={**config, "depends_on": {"app": {"condition": "service_started"}}})
    app, sidecar = made(project, stale("app"), running("sidecar")).services
    assert (app.service.name, app.order) == ("app", "stop_first")
    assert (sidecar.action, sidecar.order, names(sidecar.retire)) == ("update", "stop_first", ["shop-sidecar-1"])
    assert "it is bound to the containers of app, which are replaced" in sidecar.reasons
    assert [s.action for s in made(project, running("app"), running("sidecar")).services] == ["none", "none"]


def test_what_is_bound_to_a_container_that_is_gone_is_replaced() -> None:
    project = samples.project(
        app={}, sidecar={"network_mode": "service:app", "depends_on": {"app": {"condition": "service_started"}}}
    )
    there = [running("app"), running("sidecar", bound_to=frozenset(["shop-app-1"]))]
    assert [s.action for s in made(project, *there).services] == ["none", "none"]
    cut_off = [running("app"), running("sidecar", bound_to=frozenset(["another"]))]
    assert made(project, *cut_off).services[1].reasons[0] == "shop-sidecar-1 is bound to a container that is gone"


def restarting_with_db(**web: Any) -> spec.Project:
    return samples.project(db={}, web={"depends_on": {"db": {"condition": "service_started", "restart": True}}, **web})


@pytest.mark.parametrize("db", [stale("db"), running("db", status="exited", health=None)])
def test_what_restarts_with_a_renewed_service_is_restarted_where_it_stands(db: Container) -> None:
    planned = made(restarting_with_db(), db, running("web")).services[1]
    assert (planned.action, names(planned.restart), planned.create) == ("restart", ["shop-web-1"], 0)
    assert planned.reasons == ("it restarts with db",)
    assert planned.interrupts


@pytest.mark.parametrize(
    ("config", "down"),
    [
        ({"deploy": {"replicas": 2, "update_config": {"order": "stop-first"}}}, False),
        ({"deploy": {"replicas": 2, "update_config": {"order": "stop-first", "parallelism": 0}}}, True),
        ({"deploy": {"replicas": 2}, **DATA}, True),
        ({"deploy": {"replicas": 2}}, False),
    ],
)
def test_a_service_is_down_where_all_that_serves_leaves_at_once(config: dict[str, Any], down: bool) -> None:
    assert made(samples.project(web=config), stale(), stale(number=2)).services[0].interrupts is down


@pytest.mark.parametrize(("parallelism", "down"), [(1, False), (2, True), (0, True)])
def test_a_restart_is_an_interruption_where_all_restart_at_once(parallelism: int, down: bool) -> None:
    project = restarting_with_db(deploy={"replicas": 2, "update_config": {"parallelism": parallelism}})
    assert made(project, stale("db"), running("web"), running("web", 2)).services[1].interrupts is down


def test_what_is_replaced_itself_needs_no_restart() -> None:
    assert made(restarting_with_db(), stale("db"), stale("web")).services[1].restart == ()


def test_nothing_restarts_with_a_service_that_only_grows() -> None:
    project = samples.project(
        db={"deploy": {"replicas": 2}}, web={"depends_on": {"db": {"condition": "service_started", "restart": True}}}
    )
    assert [s.action for s in made(project, running("db"), running("web")).services] == ["scale", "none"]


def test_a_changed_file_makes_every_container_stale_and_the_way_back_inexact() -> None:
    change = "file ./nginx.conf (mounted at /etc/nginx/nginx.conf): content changed"
    planned = made(samples.project(web={}), running(), facts={"changed_files": {"web": (change,)}})
    assert (planned.services[0].action, planned.services[0].reasons) == ("update", (change,))
    assert planned.warnings == (f"web: rollback: inexact, {change}",)


def test_a_changed_file_of_a_service_that_does_not_run_is_no_change() -> None:
    planned = made(samples.project(web={}), facts={"changed_files": {"web": ("file ./x: content changed",)}})
    assert planned.services[0].action == "create"


def test_only_the_selected_services_are_planned() -> None:
    project = samples.project(web={}, other={})
    planned = made(project, stale("web"), stale("other"), facts={"selected": frozenset(["web"])})
    assert {s.service.name: s.action for s in planned.services} == {"web": "update", "other": "none"}


def routed() -> spec.Project:
    proxy = {"service": "nginx", "upstream": "web", "port": 8000}
    nginx = {"volumes": [{"type": "bind", "source": "/srv/upstreams", "target": "/etc/nginx/upstreams"}]}
    return samples.project(web={"x-rollout": {"proxy": proxy}}, nginx=nginx)


def test_an_upstream_file_that_names_others_is_put_right() -> None:
    project = routed()
    (route,) = project.services["web"].policy.routes
    present = (running("web"), running("nginx"))
    wrong = made(project, *present, facts={"upstreams": {route: "server web:8000 resolve;"}}).services[0]
    assert (wrong.service.name, wrong.action) == ("web", "route")
    text = proxy.render(route, "web", ["shop-web-1"], settled=True)
    assert made(project, *present, facts={"upstreams": {route: text}}).services[0].action == "none"


def test_strict_dns_stops_the_old_one_first_where_others_reach_it_by_name() -> None:
    strict = {"x-rollout": {"dns": "strict"}}
    alone = made(samples.project(db=strict), stale("db")).services[0]
    needed = made(
        samples.project(db=strict, web={"depends_on": {"db": {"condition": "service_started"}}}), stale("db")
    ).services[0]
    assert (alone.order, needed.order) == ("start_first", "stop_first")


def test_a_one_shot_runs_again_where_what_it_works_on_is_new() -> None:
    project = samples.project(
        db={},
        migrate={"depends_on": {"db": {"condition": "service_started"}}},
        web={"depends_on": {"migrate": {"condition": "service_completed_successfully"}}},
    )
    db, migrate, web = made(project, done(), running("web")).services
    assert (db.action, migrate.action, web.action) == ("create", "run", "none")
    assert migrate.reasons == ("db, which it depends on, has its first container",)


def migrated(**web: Any) -> spec.Project:
    return samples.project(
        migrate={}, web={"depends_on": {"migrate": {"condition": "service_completed_successfully"}}, **web}
    )


def done(number: int = 1, **changes: Any) -> Container:
    return running("migrate", number, **{"status": "exited", "exit_code": 0, **changes})


@pytest.mark.parametrize(
    ("present", "reasons"),
    [
        ((running(),), ("it has not run to success yet",)),
        ((running(), done(exit_code=1)), ("it has not run to success yet",)),
        ((running(), done(status="created")), ("it has not run to success yet",)),
        ((running(), done(config_hash="old")), ("its configuration is another one",)),
        ((running(), done(image_id=OTHER_IMAGE)), ("image shop:1: bbbbbbbbbbbb -> aaaaaaaaaaaa",)),
        ((stale(), done()), ("a service that needs it gets a new container",)),
        ((done(),), ("a service that needs it gets a new container",)),
    ],
)
def test_a_one_shot_runs_with_its_reason(present: tuple[Container, ...], reasons: tuple[str, ...]) -> None:
    planned = made(migrated(), *present).services[0]
    assert (planned.action, planned.create, planned.reasons) == ("run", 1, reasons)


def test_a_one_shot_that_succeeded_as_it_is_now_rests() -> None:
    assert [planned.action for planned in made(migrated(), running(), done()).services] == ["none", "none"]


def test_a_one_shot_still_at_work_is_waited_for() -> None:
    planned = made(migrated(), running("migrate")).services[0]
    assert (planned.action, names(planned.watch), planned.create) == ("wait", ["shop-migrate-1"], 0)


def test_what_a_killed_run_left_of_a_one_shot_goes() -> None:
    planned = made(migrated(), running(), done(1, config_hash="old"), done(2)).services[0]
    assert (planned.action, names(planned.keep), names(planned.retire)) == (
        "scale",
        ["shop-migrate-2"],
        ["shop-migrate-1"],
    )


def test_services_are_planned_in_dependency_order() -> None:
    project = samples.project(a={"depends_on": {"z": {}}}, z={})
    assert [planned.service.name for planned in made(project).services] == ["z", "a"]


def test_an_orphan_is_removed_only_on_request_and_told_of_otherwise() -> None:
    project, orphan = samples.project(web={}), running("gone")
    assert names(made(project, running(), orphan, remove_orphans=True).orphans) == ["shop-gone-1"]
    left = made(project, running(), orphan)
    assert (left.orphans, left.changes) == ((), False)
    assert "shop-gone-1" in left.warnings[0]


def test_traffic_over_docker_s_dns_is_warned_of() -> None:
    project = samples.project(web={}, front={"depends_on": {"web": {}}})
    assert made(project, stale(), running("front")).warnings[0].startswith("front reaches web by Docker's DNS")
    assert not made(project, running(), running("front")).warnings


_CONTAINERS = st.lists(
    st.builds(
        running,
        config_hash=st.sampled_from(["new", "new", "old"]),
        status=st.sampled_from(["running", "running", "exited", "created", "restarting", "paused"]),
        image_id=st.sampled_from([IMAGE, IMAGE, OTHER_IMAGE]),
        restart_policy=st.sampled_from([("no", 0), ("always", 0)]),
        exit_code=st.sampled_from([0, 1]),
    ),
    max_size=5,
).map(lambda found: [replace(item, id=str(at), name=f"web-{at}", number=at) for at, item in enumerate(found)])


@given(_CONTAINERS, st.integers(0, 4), st.booleans())
def test_each_container_has_one_fate_and_the_count_comes_out(
    present: list[Container], replicas: int, exclusive: bool
) -> None:
    planned = step(*present, deploy={"replicas": replicas}, **(DATA if exclusive else {}))
    fates = [*planned.keep, *planned.watch, *planned.retire]
    assert sorted(item.id for item in fates) == sorted(item.id for item in present)
    assert len(planned.keep) + len(planned.watch) + planned.create == replicas
    assert all(item.config_hash == "new" and item.image_id == IMAGE for item in (*planned.keep, *planned.watch))
    assert all(item.serving for item in planned.keep)
    assert bool(planned.reasons) == (planned.action != "none")
    assert planned.action != "none" or not (planned.watch or planned.retire or planned.create)


@given(_CONTAINERS, st.integers(0, 4))
def test_after_a_plan_was_carried_out_there_is_nothing_to_plan(present: list[Container], replicas: int) -> None:
    config = {"deploy": {"replicas": replicas}}
    planned = step(*present, **config)
    stayed = [replace(item, status="running", restart_policy=("no", 0)) for item in (*planned.keep, *planned.watch)]
    new = [running(number=100 + at) for at in range(planned.create)]
    assert step(*stayed, *new, **config).action == "none"


@given(st.lists(st.sampled_from([done(1), done(2, config_hash="old"), done(3, exit_code=1), running("migrate", 4)])))
def test_a_one_shot_is_never_started_beside_one_at_work(present: list[Container]) -> None:
    planned = made(migrated(), running(), *present).services[0]
    assert not (planned.create and any(item.running for item in present))
