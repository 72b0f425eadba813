# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The source of the last release is fetched and built into an image, by an engine's own builder, without BuildKit."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.integration.stack.part import run_part

if TYPE_CHECKING:
    from collections.abc import Iterator

    import docker

PACKAGES = "from importlib.metadata import distributions as d; print(sorted(x.name for x in d() if x.name != 'letta'))"


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory, images: dict[str, str]) -> Path:
    """The directory of a stack, with the source and the context that the role made of it."""
    directory = tmp_path_factory.mktemp("source")
    values = {
        "letta_stack_variant": "development",
        "letta_stack_directory": str(directory / "letta"),
        "letta_stack_images": images,
    }
    for changed in (True, False):
        rc, said = run_part(directory, "source", **values)
        assert rc == 0, said
        assert ("changed=0" in said) is not changed, said
    return directory / "letta"


@pytest.fixture(params=["base", "locked"])
def built(
    request: pytest.FixtureRequest, engine: docker.DockerClient, images: dict[str, str], stack: Path
) -> Iterator[str]:
    """An image of one of the targets; `locked` takes minutes."""
    tag = f"agentfleet-test-source:{request.param}"
    engine.images.build(
        path=str(stack / "build"), target=request.param, buildargs={"BASE": images["server"]}, tag=tag, timeout=1800
    )
    yield tag
    engine.images.remove(tag)


def test_the_tree_is_the_release(stack: Path) -> None:
    assert 'version = "0.16.8"' in (stack / "source/letta/pyproject.toml").read_text()
    assert (stack / "source/letta/tests/pytest.ini").is_file()
    assert not (stack / "source/letta.unfinished").exists()


def test_an_image_imports_the_source_with_the_dependencies_of_the_release(
    engine: docker.DockerClient, images: dict[str, str], built: str
) -> None:
    def said(image: str, *command: str) -> str:
        output = engine.containers.run(image, list(command), entrypoint="python", remove=True, network_mode="none")
        return str(output.decode().strip().splitlines()[-1])

    assert said(built, "-c", "import letta; print(letta.__file__)") == "/app/letta/__init__.py"
    assert said(built, "-c", PACKAGES) == said(images["server"], "-c", PACKAGES)
    left = "import pathlib; print([p for p in ('/build', '/app/ca.crt', '/app/source') if pathlib.Path(p).exists()])"
    assert said(built, "-c", left) == "[]"
    kept = "import pathlib; print(len([*pathlib.Path('/app/.venv').glob('lib/python*/site-packages/letta')]))"
    assert said(built, "-c", kept) == "0"
    config = engine.images.get(built).attrs["Config"]
    assert config["User"] == "10001:10001"
    assert "agentfleet.letta.stage" not in (config["Labels"] or {})
