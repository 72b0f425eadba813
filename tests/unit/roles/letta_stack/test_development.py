# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variants for development: what they build, mount and ask for."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest
import yaml

from tests.variants import properties

ROOT = Path(__file__).resolve().parents[4]
TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
COMPLAINTS = "{{ __letta_stack_complaints }}"
VARIANTS = ["development", "development_live"]
LOCK_OF_THE_IMAGE = "7d86dc1075143b24ab8864e6f443cb2220ee3aaefc385ff3919f8ea5b52b9c75"
PROJECT = '[project]\nname = "letta"\nversion = "0.16.9"\n\n[tool.x]\nversion = "1"\n'


def on_host(
    variant: str, lock: str = LOCK_OF_THE_IMAGE, digest: str = "d1", base: str = "sha256:b1", **settings
) -> dict:
    """The settings of a host, with what the role's tasks find there."""
    parts = ["alembic", "alembic.ini", "letta", "pyproject.toml", "uv.lock", "tests"]
    return {
        "letta_stack_variant": variant,
        "__letta_stack_source_stat": {
            "results": [{"item": part, "stat": {"exists": True, "roth": True, "checksum": lock}} for part in parts]
        },
        "__letta_stack_source_project": {"content": base64.b64encode(PROJECT.encode()).decode()},
        "__letta_stack_source_context": {"digest": digest},
        "__letta_stack_source_base": {"images": [{"Id": base}]},
        "__letta_stack_source_migrations": {"files": [{"path": "a.py", "checksum": "c1"}]},
        **settings,
    }


@pytest.fixture
def compose(render):
    def of(variant: str, **settings) -> dict:
        return yaml.safe_load(render("letta_stack", TEMPLATE, **on_host(variant, **settings)))

    return of


@pytest.fixture
def image(compose):
    def of(variant: str = "development", **settings) -> str:
        return compose(variant, **settings)["services"]["letta_server"]["image"]

    return of


def targets(service: dict) -> dict[str, str]:
    """Where each bind mount and volume of a service comes from, by where it is mounted."""
    mounts = [volume.split(":") for volume in service["volumes"]]
    assert all(mode == ["ro"] for source, _target, *mode in mounts if source.startswith(("/", ".")))
    return {target: source for source, target, *_mode in mounts}


@pytest.mark.parametrize("variant", VARIANTS)
class TestBoth:
    def test_it_reads_as_written_by_hand_with_other_dependencies(self, render, variant):
        text = render("letta_stack", TEMPLATE, **on_host(variant, lock="another"))
        properties.it_reads_as_written_by_hand(properties.Case(variant, {}, text))

    def test_the_database_gets_no_way_out_with_its_port(self, compose, variant):
        project = compose(variant)
        assert project["services"]["letta_db"]["networks"] == ["data", "published"]
        assert project["networks"]["data"] == {"internal": True}
        options = project["networks"]["published"]["driver_opts"]
        assert options == {"com.docker.network.bridge.enable_ip_masquerade": "false"}
        others = [name for name, service in project["services"].items() if "published" in service["networks"]]
        assert others == ["letta_db"]

    def test_debug_is_on_unless_it_is_asked_not_to_be(self, compose, variant):
        def debug(**settings):
            return compose(variant, **settings)["services"]["letta_server"]["environment"]["LETTA_DEBUG"]

        assert debug() == "true"
        assert debug(letta_stack_environment={"LETTA_DEBUG": False}) == "false"

    def test_no_nginx_is_asked_to_route(self, compose, variant):
        server = compose(variant)["services"]["letta_server"]
        assert "proxy" not in server["x-rollout"]
        assert "front" not in server["networks"]

    def test_the_password_is_asked_for_and_no_secret_is_in_the_file(self, compose, variant):
        server = compose(variant)["services"]["letta_server"]
        assert server["environment"]["LETTA_SERVER_SECURE"] == "true"
        assert not {"LETTA_SERVER_PASSWORD", "LETTA_PG_PASSWORD", "LETTA_PG_URI"} & set(server["environment"])

    def test_the_version_is_the_sources_own(self, compose, variant):
        assert compose(variant)["services"]["letta_server"]["environment"]["LETTA_VERSION"] == "0.16.9"


class TestBuilt:
    def test_both_that_run_letta_run_what_was_built(self, compose):
        project = compose("development")
        build = {
            "context": "./build",
            "target": "base",
            "args": {"BASE": "letta/letta:0.16.8"},
            "labels": {"agentfleet.letta.source": "letta"},
        }
        for name in ("letta_server", "migrate"):
            assert project["services"][name]["build"] == build
            assert project["services"][name]["image"].startswith("agentfleet/letta-source:")
        assert project["services"]["migrate"]["image"] == project["services"]["letta_server"]["image"]

    def test_the_source_is_not_mounted(self, compose):
        mounted = set(targets(compose("development")["services"]["letta_server"]))
        assert mounted == {"/etc/letta/launcher.py", "/etc/letta/mend_providers.py"}
        assert compose("development")["services"]["letta_server"]["command"] == ["server"]

    def test_equal_sources_have_one_image_and_others_another(self, image):
        assert image() == image()
        assert (
            len({image(), image(digest="d2"), image(base="sha256:b2"), image(letta_stack_source_target="locked")}) == 4
        )

    def test_other_dependencies_are_installed_where_the_source_has_others(self, compose):
        def target(**settings):
            return compose("development", **settings)["x-source"]["target"]

        assert target() == "base"
        assert target(lock="another") == "locked"
        assert target(lock="another", letta_stack_source_target="base") == "base"

    def test_a_target_is_one_of_the_dockerfile(self):
        dockerfile = (ROOT / "files/images/letta-source/Dockerfile").read_text(encoding="utf-8")
        choices = yaml.safe_load((ROOT / "roles/letta_stack/meta/argument_specs.yml").read_text(encoding="utf-8"))
        choices = choices["argument_specs"]["main"]["options"]["letta_stack_source_target"]["choices"]
        stages = {line.split()[-1] for line in dockerfile.splitlines() if line.startswith("FROM ")}
        assert set(choices) - {"auto"} <= stages

    def test_the_index_of_the_build_is_passed_on(self, compose):
        build = compose("development", letta_stack_source_python_index="https://index.example.com/$1")["x-source"]
        assert build["args"]["PYTHON_INDEX"] == "https://index.example.com/$$1"


class TestContext:
    """That what is named gets in and nothing else is proven in tests/unit/plugins/test_build_context.py."""

    def test_only_what_is_named_reaches_the_engine(self):
        rules = (ROOT / "files/images/letta-source/.dockerignore").read_text(encoding="utf-8").splitlines()
        rules = [rule for rule in rules if not rule.startswith("#")]
        assert rules == ["*", "!build-requirements.txt", "!ca.crt", "!source"]

    def test_the_parts_of_the_source_are_those_that_the_server_needs(self, render):
        assert render("letta_stack", "{{ __letta_stack_source_parts }}") == [
            "alembic",
            "alembic.ini",
            "letta",
            "pyproject.toml",
            "uv.lock",
        ]

    def test_the_run_names_what_a_developer_may_miss(self, render):
        left_out = [
            "letta/.env",
            "letta/__pycache__",
            "letta/a.yaml",
            "letta/a.pyc",
            "letta/personas/examples/sqldb/test.db",
            "letta/server/id_rsa",
            "letta/x.__pycache__",
        ]
        found = {"__letta_stack_source_context": {"left_out": left_out}}
        named = render("letta_stack", "{{ __letta_stack_source_left_out | list }}", **found)
        assert named == ["letta/a.yaml", "letta/server/id_rsa", "letta/x.__pycache__"]


class TestMounted:
    def test_source_tests_and_what_is_named_are_mounted_and_nothing_can_be_written(self, compose):
        services = compose(
            "development_live",
            letta_stack_source="/srv/letta",
            letta_stack_live_credentials="/srv/credentials",
            letta_stack_live_configuration="/srv/conf.yaml",
        )["services"]
        found = targets(services["letta_server"])
        assert found.pop("/etc/letta/launcher.py").startswith("./files/launcher.py.")
        assert found.pop("/etc/letta/mend_providers.py").startswith("./files/mend_providers.py.")
        assert found == {
            "/app/letta": "/srv/letta/letta",
            "/app/tests": "/srv/letta/tests",
            "/etc/letta/conf.yaml": "/srv/conf.yaml",
            "/run/credentials": "/srv/credentials",
        }
        assert services["letta_server"]["environment"]["LETTA_CONFIG_PATH"] == "/etc/letta/conf.yaml"
        assert set(targets(services["migrate"])) == {
            "/etc/letta/launcher.py",
            "/app/letta",
            "/app/alembic",
            "/app/alembic.ini",
        }

    def test_what_is_not_named_is_not_mounted(self, compose):
        server = compose("development_live")["services"]["letta_server"]
        launch = {"/etc/letta/launcher.py", "/etc/letta/mend_providers.py"}
        assert set(targets(server)) == launch | {"/app/letta", "/app/tests"}
        assert "LETTA_CONFIG_PATH" not in server["environment"]

    def test_the_server_follows_the_source_and_imports_it(self, compose):
        services = compose("development_live")["services"]
        assert services["letta_server"]["command"] == ["live"]
        assert services["letta_server"]["environment"]["PYTHONPATH"] == "/app"
        assert services["migrate"]["environment"]["PYTHONPATH"] == "/app"

    def test_it_needs_no_image_of_its_own_but_for_other_dependencies(self, compose):
        project = compose("development_live")
        assert project["services"]["letta_server"]["image"] == "letta/letta:0.16.8"
        assert "x-source" not in project
        assert "build" not in project["services"]["letta_server"]
        other = compose("development_live", lock="another")
        assert other["x-source"]["target"] == "locked"
        assert other["services"]["letta_server"]["build"] == other["x-source"]

    def test_a_change_of_the_source_replaces_nothing(self, image):
        assert image("development_live", lock="another") == image("development_live", lock="another", digest="d2")
        assert image("development_live", lock="another") != image("development_live", lock="a third")

    def test_a_new_migration_runs(self, compose):
        def label(**settings):
            return compose("development_live", **settings)["services"]["migrate"]["labels"]

        new = {"files": [{"path": "a.py", "checksum": "c1"}, {"path": "b.py", "checksum": "c2"}]}
        assert label() == label()
        assert label() != label(__letta_stack_source_migrations=new)

    def test_the_default_source_lies_below_the_stacks_directory(self, compose):
        server = compose("development_live", letta_stack_directory="/srv/dev")["services"]["letta_server"]
        assert targets(server)["/app/letta"] == "/srv/dev/source/letta/letta"


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"letta_stack_source": "src/letta"}, "letta_stack_source, "),
        ({"letta_stack_source": "/srv/letta/"}, "without a slash at the end"),
        ({"letta_stack_source": "/srv/my letta"}, "without spaces, colons or $"),
        ({"letta_stack_source": "/home/dev/$x"}, "without spaces, colons or $"),
        ({"letta_stack_source": "/opt/letta/build/source"}, "letta_stack_source: must lie neither in nor around"),
        ({"letta_stack_source": "/opt/letta/build"}, "neither in nor around /opt/letta/build, which"),
        ({"letta_stack_source": "/opt/letta"}, "neither in nor around /opt/letta/build, which"),
        ({"letta_stack_source": "/srv", "letta_stack_directory": "/srv/letta"}, "around /srv/letta/build, which"),
        ({"letta_stack_development_db_port": 0}, "letta_stack_development_db_port: must be between 1 and 65535"),
        (
            {"letta_stack_development_db_port": 8283},
            "letta_stack_development_db_port and letta_stack_port are both 8283",
        ),
        ({"letta_stack_db_port": 5432}, "can be reached on 127.0.0.1 alone"),
        ({"letta_stack_db_listen_address": "0.0.0.0"}, "its port is letta_stack_development_db_port"),
        ({"letta_stack_source_target": "development"}, "letta_stack_source_target: must be one of auto, base, locked"),
        (
            {"letta_stack_source_python_index": "https://user:token@index.example.com/simple"},
            "letta_stack_source_python_index, which is letta_images_python_index unless it is given: must not carry",
        ),
        ({"letta_stack_live_credentials": "/srv/keys"}, "only letta_stack_variant development_live mounts them"),
        ({"letta_stack_live_configuration": "/srv/c.yaml"}, "only letta_stack_variant development_live mounts them"),
        ({"letta_stack_environment": {"LETTA_UVICORN_RELOAD": True}}, "development_live follows its source"),
    ],
)
def test_what_cannot_work_is_one_clear_complaint(render, settings, message):
    (complaint,) = render("letta_stack", COMPLAINTS, letta_stack_variant="development", **settings)
    assert message in complaint
    assert "token" not in complaint


def test_an_index_with_a_password_is_of_no_concern_where_no_source_is_built(render):
    index = "https://user:token@index.example.com/simple"
    assert render("letta_stack", COMPLAINTS, letta_images_python_index=index) == []
    (complaint,) = render("letta_stack", COMPLAINTS, letta_images_python_index=index, letta_stack_variant="development")
    assert "letta_images_python_index" in complaint


@pytest.mark.parametrize("source", ["/opt/letta/builder", "/opt/letta/source/fork", "/opt/let"])
def test_a_source_beside_the_context_is_fine(render, source):
    assert render("letta_stack", COMPLAINTS, letta_stack_variant="development", letta_stack_source=source) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_defaults_are_fine(render, variant):
    assert render("letta_stack", COMPLAINTS, letta_stack_variant=variant) == []


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_check_can_render_before_there_is_a_source(render, variant):
    project = yaml.safe_load(render("letta_stack", TEMPLATE, letta_stack_variant=variant))
    assert project["services"]["letta_server"]["environment"]["LETTA_VERSION"] == "unknown"
    assert render("letta_stack", "{{ __letta_stack_source_is_there }}", letta_stack_variant=variant) is False


def test_the_source_that_is_fetched_is_the_one_that_the_image_is_made_of(render):
    recipe = (ROOT / "files/images/letta/Dockerfile").read_text(encoding="utf-8")
    version, digest = render("letta_stack", "{{ [__letta_stack_sdist_version, __letta_stack_sdist_hash] }}")
    assert f"ARG LETTA_VERSION={version}\n" in recipe
    assert f"ARG LETTA_SDIST_SHA256={digest}\n" in recipe
    assert len(digest) == 64


@pytest.mark.parametrize("variant", ["development", "production"])
def test_the_image_of_the_release_before_stays_and_older_ones_go_in_every_variant(render, variant):
    now = render("letta_stack", "{{ __letta_stack_source_image }}", **on_host(variant))
    found = {
        "sha256:now": [now],
        "sha256:before": ["agentfleet/letta-source:before"],
        "sha256:older": ["agentfleet/letta-source:older"],
        "sha256:nameless": [],
    }
    containers = [{"ImageID": "sha256:database"}, {"ImageID": "sha256:before"}]
    unwanted = render(
        "letta_stack",
        "{{ __letta_stack_unwanted_images }}",
        __letta_stack_engine={"host_info": {"NCPU": 2}, "volumes": [], "containers": containers},
        __letta_stack_source_images={"images": [{"Id": key, "RepoTags": tags} for key, tags in found.items()]},
        **on_host(variant),
    )
    assert set(unwanted) == {"agentfleet/letta-source:older", *([now] if variant == "production" else [])}
