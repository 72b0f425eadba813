# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Which files the containers of a service see, read from what Compose 2.26.1 and 2.40.3 print of one project."""

from __future__ import annotations

from typing import Any

import pytest

from ansible_collections.agentfleet.letta.plugins.module_utils._rollout import core_yaml, mounted_files, spec
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.errors import Problems, SpecError
from ansible_collections.agentfleet.letta.plugins.module_utils._rollout.mounted_files import MountedFile

from .samples import text

BIND = "/srv/files/a$b.txt"
INLINE = "level 3 costs 5$\n"


def project(service: dict[str, Any], **sections: Any) -> spec.Project:
    services = {"web": {"image": "shop:1", **service}}
    return spec.parse(core_yaml.dump({"name": "shop", "services": services, **sections}))


@pytest.mark.parametrize("version", ["2.26", "2.40"])
def test_every_bind_mount_config_and_secret_is_found_with_its_target_and_its_source(version: str) -> None:
    files = mounted_files.of_project(spec.parse(text(f"files-{version}.config")))

    assert files["plain"] == ()
    assert files["app"] == (
        MountedFile("file", "/mnt/short", path=BIND, must_exist=False),
        MountedFile("file", "/mnt/long", path=BIND, watched=False),
        MountedFile("file", "/mnt/made", path="/srv/files/made", must_exist=False),
        MountedFile("file", "/mnt/not-made", path=BIND),
        MountedFile("config", "/page", "page", content=INLINE),
        MountedFile("config", "/etc/app/page", "page", content=INLINE, uid=9, mode=0o640),
        MountedFile("config", "/relative", "level", variable="LEVEL"),
        MountedFile("config", "/etc/nginx/nginx.conf", "nginx", path="/srv/files/nginx.conf"),
        MountedFile("secret", "/run/secrets/token", "token", variable="TOKEN"),
        MountedFile("secret", "/run/secrets/deep/er/name", "token", variable="TOKEN", uid=12, gid=34, mode=0o400),
        MountedFile("secret", "/abs/token", "token", variable="TOKEN"),
        MountedFile("secret", "/run/secrets/password", "password", path="/srv/files/password"),
    )
    assert mounted_files.variables(files) == ("LEVEL", "TOKEN")


def test_a_config_or_secret_whose_target_is_shared_is_not_watched() -> None:
    files = mounted_files.of_project(
        project(
            {"configs": [{"source": "a"}, {"source": "a", "target": "/b"}], "x-rollout": {"shared": ["/b"]}},
            configs={"a": {"content": "x"}},
        )
    )
    assert [(file.target, file.watched) for file in files["web"]] == [("/a", True), ("/b", False)]


def test_everything_that_cannot_be_delivered_is_named_at_once() -> None:
    shop = project(
        {
            "secrets": [{"source": "outside"}, {"source": "odd"}, {"source": "fine", "uid": "postgres"}],
            "configs": [{"source": "fine", "mode": "rw"}, {"source": "fine", "target": "/b", "mode": 1 << 20}],
        },
        secrets={
            "outside": {"name": "outside", "external": True},
            "odd": {"environment": "no-name"},
            "fine": {"environment": "FINE"},
        },
        configs={"fine": {"content": "x"}},
    )
    with pytest.raises(SpecError) as refusal:
        mounted_files.of_project(shop)
    assert str(refusal.value).split("; ") == [
        "services.web.configs.fine.mode: 'rw' is no file mode",
        "allowed: octal digits, as in 0440",
        "services.web.configs.fine.mode: 1048576 is no file mode",
        "allowed: octal digits, as in 0440",
        "secrets.outside: Compose cannot deliver it without a source",
        "allowed: file, environment",
        "secrets.odd.environment: 'no-name' is no name of a variable",
        "allowed: letters, digits and _",
        "services.web.secrets.fine.uid: 'postgres' is no number",
        "allowed: a numeric id, because names are the container's own",
    ]


def test_what_is_a_problem_is_left_out_of_a_configuration_that_was_committed() -> None:
    problems = Problems()
    config = {
        "services": {"web": {"secrets": [{"source": "gone"}, {"source": "here"}]}, "empty": None},
        "secrets": {"here": {"file": "/here"}},
    }
    files = mounted_files.of_config(config, problems)
    assert files == {"web": (MountedFile("secret", "/run/secrets/here", "here", path="/here"),), "empty": ()}
    with pytest.raises(SpecError, match=r"secrets\.gone"):
        problems.settle(SpecError)


@pytest.mark.parametrize(("mode", "means"), [(288, 0o440), ("0440", 0o440), ("440", 0o440), (0, 0), (None, 0o444)])
def test_a_mode_is_octal_text_or_a_number_by_compose_s_version(mode: Any, means: int) -> None:
    shop = project({"configs": [{"source": "a", "mode": mode}]}, configs={"a": {"content": ""}})
    assert mounted_files.of_project(shop)["web"][0].mode == means
