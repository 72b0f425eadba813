# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which images are pulled and built, and that tags which moved name the images of before when nothing comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import images, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import (
    ComposeError,
    EngineError,
    ImageError,
)

from . import samples


def services(**configs: dict[str, Any]) -> list[spec.Service]:
    return list(samples.project(**configs).services.values())


class Registry:
    """An engine's images by tag, and a Compose that pulls and builds new ones."""

    def __init__(self, of: Sequence[spec.Service], here: dict[str, str], there: dict[str, str]) -> None:
        self.named = {service.name: service.image for service in of}
        self.here, self.there = dict(here), there
        self.done: list[str] = []
        self.broken: set[str] = set()

    def image_id(self, reference: str) -> str | None:
        return self.here.get(reference)

    def tag(self, image_id: str, reference: str) -> None:
        if reference in self.broken:
            raise EngineError("no space left on device")
        self.here[reference] = image_id

    def pull(self, names: Sequence[str]) -> None:
        self.done.append(f"pull {' '.join(names)}")
        for name in names:
            if self.named[name] not in self.there:
                raise ComposeError(f"`docker compose pull` failed: no such manifest: {self.named[name]}")
            self.here[self.named[name]] = self.there[self.named[name]]

    def build(self, name: str) -> None:
        self.done.append(f"build {name}")
        if self.named[name] in self.broken:
            raise ComposeError("`docker compose build` failed: exit code: 1")
        self.here[self.named[name]] = f"built-{name}"


def bring(
    of: list[spec.Service], here: dict[str, str], there: dict[str, str], pull: str = "policy", build: str = "policy"
) -> tuple[Registry, images.Images]:
    registry = Registry(of, here, there)
    made = images.Images(registry, registry, of)  # type: ignore[arg-type]
    made.bring(images.needs(of, pull, build, made.present))
    return registry, made


def needs(how_to_pull: str, how_to_build: str, here: bool, **config: Any) -> str:
    """What a service of this configuration needs, in words."""
    service = samples.service(**config)
    wanted = images.needs([service], how_to_pull, how_to_build, {service.image: "one" if here else None})
    assert wanted.or_build <= set(wanted.pull)
    kinds = {"pull": wanted.pull, "or_build": wanted.or_build, "build": wanted.build}
    return " ".join(kind for kind, services in kinds.items() for _service in services)


@pytest.mark.parametrize(
    ("pull", "policy", "here", "wanted"),
    [
        ("policy", None, True, ""),
        ("policy", None, False, "pull"),
        ("policy", "if_not_present", True, ""),
        ("policy", "if_not_present", False, "pull"),
        ("policy", "always", True, "pull"),
        ("policy", "never", False, ""),
        ("policy", "daily", True, "pull"),
        ("always", "never", True, "pull"),
        ("missing", "always", True, ""),
        ("missing", "always", False, "pull"),
        ("never", "always", False, ""),
    ],
)
def test_what_is_pulled(pull: str, policy: str | None, here: bool, wanted: str) -> None:
    assert needs(pull, "policy", here, **({"pull_policy": policy} if policy else {})) == wanted


@pytest.mark.parametrize(
    ("build", "pull", "policy", "here", "wanted"),
    [
        # An image without a name of its own can come from nowhere else.
        ("policy", "policy", None, True, ""),
        ("policy", "policy", None, False, "build"),
        ("policy", "always", None, True, ""),
        ("policy", "never", None, False, "build"),
        ("policy", "policy", "build", True, "build"),
        ("always", "policy", None, True, "build"),
        ("always", "never", "never", True, "build"),
        ("never", "policy", "build", True, ""),
        ("never", "policy", None, False, ""),
    ],
)
def test_what_is_built(build: str, pull: str, policy: str | None, here: bool, wanted: str) -> None:
    config = {"image": None, "build": {"context": "/srv/shop"}, **({"pull_policy": policy} if policy else {})}
    assert needs(pull, build, here, **config) == wanted


@pytest.mark.parametrize(
    ("build", "pull", "here", "wanted"),
    [
        ("policy", "policy", False, "pull or_build"),
        ("policy", "policy", True, ""),
        ("policy", "always", True, "pull or_build"),
        ("policy", "never", False, "build"),
        ("always", "always", True, "build"),
        ("never", "policy", False, "pull"),
    ],
)
def test_an_image_that_can_be_had_both_ways_is_pulled_first(build: str, pull: str, here: bool, wanted: str) -> None:
    assert needs(pull, build, here, image="shop/web:1", build={"context": "/srv/shop"}) == wanted


def test_a_service_without_containers_needs_no_image() -> None:
    assert needs("always", "always", False, build={"context": "/"}, deploy={"replicas": 0}) == ""


def test_all_are_pulled_together() -> None:
    of = services(db={"image": "db:1"}, web={"image": "web:1"})
    registry, made = bring(of, {"db:1": "d1"}, {"db:1": "d1", "web:1": "w1"}, pull="always")
    assert registry.done == ["pull db web"]
    assert made.changed
    assert not bring(of, {"db:1": "d1", "web:1": "w1"}, {"db:1": "d1", "web:1": "w1"}, pull="always")[1].changed


def test_a_failure_names_the_service_the_image_and_the_registry_s_words() -> None:
    of = services(db={"image": "db:1"}, web={"image": "web:1"})
    with pytest.raises(ImageError) as failure:
        bring(of, {}, {"db:1": "d1"})
    assert (failure.value.service, failure.value.reason) == ("web", "pull")
    assert str(failure.value) == ("image web:1 cannot be pulled: `docker compose pull` failed: no such manifest: web:1")


def test_what_cannot_be_pulled_is_built_where_it_can_be() -> None:
    of = services(db={"image": "db:1"}, web={"image": "web:1", "build": {"context": "/srv"}})
    registry, _made = bring(of, {}, {"db:1": "d1"})
    assert registry.done == ["pull db", "pull web", "build web"]
    assert registry.here == {"db:1": "d1", "web:1": "built-web"}


def test_a_build_that_fails_names_its_service() -> None:
    of = services(web={"image": "web:1", "build": {"context": "/srv"}})
    registry = Registry(of, {"web:1": "w0"}, {})
    registry.broken = {"web:1"}
    made = images.Images(registry, registry, of)  # type: ignore[arg-type]
    with pytest.raises(ImageError) as failure:
        made.bring(images.needs(of, "policy", "always", made.present))
    assert (failure.value.service, failure.value.reason) == ("web", "build")
    assert "image web:1 cannot be built" in str(failure.value)


def test_a_tag_that_somebody_moved_meanwhile_is_left_alone() -> None:
    of = services(web={"image": "web:1"})
    registry, made = bring(of, {"web:1": "w0"}, {"web:1": "w1"}, pull="always")
    registry.here["web:1"] = "by hand"
    assert made.put_back() == ()
    assert registry.here == {"web:1": "by hand"}


def test_what_cannot_be_put_back_is_told() -> None:
    of = services(web={"image": "web:1"})
    registry, made = bring(of, {"web:1": "w0"}, {"web:1": "w1"}, pull="always")
    registry.broken = {"web:1"}
    (problem,) = made.put_back()
    assert "image web:1 does not name w0 again: no space left on device" in problem


def test_a_digest_is_no_tag() -> None:
    of = services(web={"image": "web@sha256:1"})
    registry, made = bring(of, {"web@sha256:1": "w0"}, {"web@sha256:1": "w1"}, pull="always")
    registry.broken = {"web@sha256:1"}
    assert made.put_back() == ()


@given(
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz")),
    st.dictionaries(st.sampled_from("abcd"), st.sampled_from("xyz")),
)
def test_after_a_failure_each_tag_of_before_names_its_image_of_before(
    here: dict[str, str], there: dict[str, str]
) -> None:
    of = services(**{name: {"image": name} for name in "abcd"})
    registry = Registry(of, here, there)
    made = images.Images(registry, registry, of)  # type: ignore[arg-type]

    def fail() -> None:
        with made.put_back_on_failure(pytest.fail):
            made.bring(images.needs(of, "always", "policy", made.present))
            raise KeyboardInterrupt

    with pytest.raises((ImageError, KeyboardInterrupt)):
        fail()
    assert {name: registry.here[name] for name in here} == here
