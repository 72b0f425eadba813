# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""The variant vllm: how vLLM gets GPUs, who reaches it, what Letta is told of it, and which settings are refused."""

from __future__ import annotations

import pytest
import yaml

TEMPLATE = "{{ lookup('ansible.builtin.template', 'compose.yaml.j2') }}"
COMPLAINTS = "{{ __letta_stack_complaints }}"
TOKEN = "hf_never_to_be_seen"

WITH_CDI = {"NCPU": 2, "DiscoveredDevices": [{"Source": "cdi", "ID": "nvidia.com/gpu=0"}], "Runtimes": {"runc": {}}}
WITH_RUNTIME = {"NCPU": 2, "Runtimes": {"runc": {}, "nvidia": {}}, "DiscoveredDevices": None}
WITH_BOTH = {**WITH_CDI, "Runtimes": {"nvidia": {}}}
WITH_NOTHING = {"NCPU": 2, "Runtimes": {"runc": {}}}


@pytest.fixture(scope="module")
def evaluate(render):
    """Evaluate a template of the role for the variant, on an engine, with settings without their prefix."""

    def function(template, host_info=None, **settings):
        given = {
            "letta_stack_variant": "vllm",
            "letta_stack_vllm_model": "Qwen/Qwen3-8B",
            "__letta_stack_engine": {"host_info": host_info or WITH_RUNTIME, "volumes": []},
        }
        for name, value in settings.items():
            given[name if name.startswith(("letta_", "__")) else f"letta_stack_vllm_{name}"] = value
        return render("letta_stack", template, **given)

    return function


@pytest.fixture(scope="module")
def project(evaluate):
    """Return a function that renders compose.yaml and reads it, once for the same settings: no test changes it."""
    known = {}

    def function(**settings):
        asked = repr(sorted(settings.items()))
        if asked not in known:
            known[asked] = read(settings)
        return known[asked]

    def read(settings):
        # Variables are evaluated wherever they are used; this one is most of the time that a rendering takes.
        rendered = evaluate("{{ __letta_stack_rendered }}", **settings)
        return yaml.safe_load(evaluate(TEMPLATE, __letta_stack_model=rendered, **settings))

    return function


def requests(project):
    reservations = project["services"]["vllm"]["deploy"].get("resources", {}).get("reservations", {})
    return reservations.get("devices", [])


def test_it_is_production_and_vllm_before_the_server(project):
    services = project()["services"]
    assert list(services) == ["letta_db", "redis", "migrate", "vllm", "letta_server", "nginx"]
    assert services["letta_server"]["depends_on"]["vllm"] == {"condition": "service_healthy"}


@pytest.mark.parametrize(
    ("gpus", "request_"),
    [
        ("all", {"count": "all"}),
        (2, {"count": 2}),
        ("2", {"count": 2}),
        ([0, 3], {"device_ids": ["0", "3"]}),
        (["GPU-8d5a"], {"device_ids": ["GPU-8d5a"]}),
    ],
)
def test_gpus_are_reserved(project, gpus, request_):
    assert requests(project(gpus=gpus, gpu_access="reservation")) == [
        {"driver": "nvidia", **request_, "capabilities": ["gpu"]}
    ]


@pytest.mark.parametrize(
    ("gpus", "devices"),
    [
        ("all", ["nvidia.com/gpu=all"]),
        (2, ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]),
        ([0, 3], ["nvidia.com/gpu=0", "nvidia.com/gpu=3"]),
        (["GPU-8d5a"], ["nvidia.com/gpu=GPU-8d5a"]),
    ],
)
def test_gpus_are_named_by_cdi_in_a_way_that_every_compose_knows(project, gpus, devices):
    rendered = project(gpus=gpus, gpu_access="cdi")
    assert requests(rendered) == [{"driver": "cdi", "device_ids": devices, "capabilities": ["gpu"]}]
    assert "devices" not in rendered["services"]["vllm"]


def test_an_engine_whose_default_runtime_is_nvidias_goes_by_variables(project):
    rendered = project(gpus=[1, 2], gpu_access="none")
    assert requests(rendered) == []
    assert rendered["services"]["vllm"]["environment"]["NVIDIA_VISIBLE_DEVICES"] == "1,2"


def test_without_a_gpu_nothing_asks_for_one(project):
    rendered = project(gpus="cpu", cpu_cache=2, host_info=WITH_BOTH)
    assert requests(rendered) == []
    environment = rendered["services"]["vllm"]["environment"]
    assert environment["VLLM_CPU_KVCACHE_SPACE"] == "2"
    assert not [name for name in environment if name.startswith("NVIDIA")]


@pytest.mark.parametrize(
    ("engine", "specs", "access"),
    [
        (WITH_CDI, None, "cdi"),
        (WITH_BOTH, None, "cdi"),
        (WITH_RUNTIME, None, "reservation"),
        (WITH_NOTHING, None, "nothing"),
        ({**WITH_RUNTIME, "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"]}, {"matched": 1}, "cdi"),
        ({**WITH_RUNTIME, "CDISpecDirs": ["/etc/cdi", "/var/run/cdi"]}, {"matched": 0}, "reservation"),
        ({**WITH_RUNTIME, "CDISpecDirs": []}, {"skipped": True}, "reservation"),
        ({**WITH_CDI, "DiscoveredDevices": [{"Source": "cdi", "ID": "amd.com/gpu=0"}]}, None, "nothing"),
    ],
    ids=["cdi", "both", "runtime", "nothing", "specs", "no specs of gpus", "no directories", "other makers"],
)
def test_the_way_to_gpus_is_what_the_engine_offers(evaluate, engine, specs, access):
    found = {} if specs is None else {"__letta_stack_cdi_specs": specs}
    assert evaluate("{{ __letta_stack_vllm_gpu_access }}", host_info=engine, **found) == access


HOOK = {"__letta_stack_vllm_hook": {"matched": 1}}
NO_HOOK = {"__letta_stack_vllm_hook": {"matched": 0}}
DEFAULT = {"DefaultRuntime": "nvidia", "Runtimes": {"runc": {}, "nvidia": {"path": "nvidia-container-runtime"}}}
RENAMED = {"DefaultRuntime": "gpu", "Runtimes": {"runc": {}, "gpu": {"path": "/opt/bin/nvidia-container-runtime"}}}


@pytest.mark.parametrize(
    ("access", "engine", "found", "lacks"),
    [
        ("auto", WITH_NOTHING, {}, "no CDI device nvidia.com/gpu and no runtime nvidia"),
        ("auto", WITH_RUNTIME, {}, ""),
        ("cdi", WITH_RUNTIME, {}, "no CDI device nvidia.com/gpu"),
        ("cdi", WITH_CDI, {}, ""),
        ("reservation", WITH_NOTHING, NO_HOOK, "and the engine has none of them"),
        ("reservation", WITH_NOTHING, HOOK, ""),
        ("reservation", WITH_RUNTIME, NO_HOOK, ""),
        ("reservation", WITH_CDI, NO_HOOK, ""),
        ("none", {**WITH_RUNTIME, "DefaultRuntime": "runc"}, {}, "the default of the engine, which is runc"),
        ("none", {**WITH_NOTHING, **DEFAULT}, {}, ""),
        ("none", {**WITH_NOTHING, **RENAMED}, {}, ""),
    ],
)
def test_a_way_to_gpus_that_the_engine_does_not_offer_is_refused_also_when_it_is_asked_for(
    evaluate, access, engine, found, lacks
):
    said = evaluate("{{ __letta_stack_vllm_no_gpu }}", host_info=engine, gpu_access=access, **found)
    assert lacks in said
    assert bool(said) == bool(lacks)


@pytest.mark.parametrize("offline", [False, True])
def test_vllm_meets_the_server_alone_and_the_world_only_for_a_model(project, offline):
    rendered = project(offline=offline)
    networks = {name: set(service["networks"]) for name, service in rendered["services"].items()}
    assert networks["vllm"] == ({"llm"} if offline else {"llm", "models"})
    assert [name for name, joined in networks.items() if joined & networks["vllm"]] == ["vllm", "letta_server"]
    assert networks["vllm"] & networks["letta_server"] == {"llm"}
    assert rendered["networks"]["llm"] == {"internal": True}
    assert ("models" in rendered["networks"]) is not offline
    assert rendered["services"]["vllm"]["environment"].get("HF_HUB_OFFLINE") == ("1" if offline else None)


def test_both_sides_have_one_name_and_one_context(project):
    services = project(served_name="qwen", context=262144)["services"]
    assert {"--served-model-name=qwen", "--max-model-len=262144"} < set(services["vllm"]["command"])
    (check,) = services["vllm"]["x-rollout"]["checks"]
    assert check["exec"]["command"] == ["python3", "/etc/vllm/completion.py", "qwen", "262144"]
    server = services["letta_server"]
    assert server["environment"]["VLLM_API_BASE"] == "http://vllm:8000/v1"
    # Letta cuts what a provider offers to 128000.
    assert server["environment"]["GLOBAL_MAX_CONTEXT_WINDOW_LIMIT"] == "262144"
    assert server["labels"] == {"agentfleet.letta.model": "qwen, 262144 tokens"}


def test_a_limit_that_is_asked_for_stays(project):
    environment = {"GLOBAL_MAX_CONTEXT_WINDOW_LIMIT": 200000}
    services = project(context=262144, letta_stack_environment=environment)["services"]
    assert services["letta_server"]["environment"]["GLOBAL_MAX_CONTEXT_WINDOW_LIMIT"] == "200000"


@pytest.mark.parametrize(("setting", "value"), [("served_name", "other"), ("context", 16384)])
def test_what_letta_reads_at_its_start_replaces_the_server(project, setting, value):
    assert project()["services"]["letta_server"] != project(**{setting: value})["services"]["letta_server"]


@pytest.mark.parametrize(
    ("setting", "value"), [("tensor_parallel", 2), ("arguments", ["--seed=1"]), ("shm_size", "1g")]
)
def test_what_letta_does_not_see_leaves_the_server_alone(project, setting, value):
    assert project()["services"]["letta_server"] == project(**{setting: value})["services"]["letta_server"]


def test_a_model_of_hugging_face_is_asked_for_and_kept(project):
    rendered = project(hf_token=TOKEN)
    vllm = rendered["services"]["vllm"]
    assert vllm["command"][0] == "Qwen/Qwen3-8B"
    assert "--served-model-name=Qwen3-8B" in vllm["command"]
    assert "vllm:/home/vllm" in vllm["volumes"]
    assert "vllm" in rendered["volumes"]
    assert vllm["secrets"] == ["hf_token"]
    assert vllm["environment"]["HF_TOKEN_PATH"] == "/run/secrets/hf_token"
    assert rendered["secrets"]["hf_token"] == {"file": "secrets/hf_token.000000000007"}


def test_a_token_that_is_not_given_is_not_made_up(evaluate):
    assert "hf_token" not in evaluate("{{ __letta_stack_needed_secrets }}")
    assert evaluate("{{ __letta_stack_given_secrets.hf_token }}", hf_token=TOKEN) == TOKEN


def test_a_directory_is_mounted_and_named(project):
    vllm = project(model="/srv/models/tiny")["services"]["vllm"]
    assert vllm["command"][0] == "/model"
    assert "--served-model-name=tiny" in vllm["command"]
    assert "/srv/models/tiny:/model:ro" in vllm["volumes"]


@pytest.mark.parametrize("name", ["@tiny", "*tiny", "{tiny}", "'tiny", "tiny#1"])
def test_a_directory_of_any_name_is_mounted_as_it_is(project, evaluate, name):
    settings = {"model": f"/srv/models/{name}", "served_name": "tiny"}
    assert evaluate(COMPLAINTS, **settings) == []
    assert f"/srv/models/{name}:/model:ro" in project(**settings)["services"]["vllm"]["volumes"]


def test_a_big_model_gets_its_time(project):
    vllm = project(start_period=7200)["services"]["vllm"]
    assert vllm["healthcheck"]["start_period"] == "7200s"
    assert vllm["x-rollout"]["timeout"] == "7500s"


def test_other_options_and_variables_are_passed_on(project):
    vllm = project(arguments=["--seed=$5"], environment={"HTTPS_PROXY": "http://proxy:3128"})["services"]["vllm"]
    # Compose reads $$ as $.
    assert vllm["command"][-1] == "--seed=$$5"
    assert vllm["environment"]["HTTPS_PROXY"] == "http://proxy:3128"


def test_a_server_can_mend_what_letta_remembers_wherever_its_vllm_is(render):
    rendered = yaml.safe_load(render("letta_stack", TEMPLATE))
    volumes = rendered["services"]["letta_server"]["volumes"]
    assert [volume.split(":")[1] for volume in volumes] == ["/etc/letta/launcher.py", "/etc/letta/mend_providers.py"]


@pytest.mark.parametrize(
    ("name", "value", "allowed"),
    [
        ("model", "", "such as Qwen/Qwen3-8B"),
        ("model", "Qwen/Qwen3/8B", "such as Qwen/Qwen3-8B"),
        ("model", "/srv/my models", "without spaces"),
        ("model", "/srv/models/", "a slash at its end"),
        ("model", "/srv/models/@tiny", "has to be given, as @tiny, the directory's own name"),
        ("model", "/srv/models/*tiny", "has to be given"),
        ("model", "/srv/models/{tiny}", "has to be given"),
        ("model", "/srv/models/'tiny", "has to be given"),
        ("served_name", "a/b", "letters, digits"),
        ("served_name", "gpt-5-oss", "Letta takes names that begin with"),
        ("model", "owner/model-fast", "or end in -fast"),
        ("context", 2048, "4096 tokens or more"),
        ("tool_parser", "Llama 3", "such as hermes"),
        ("gpus", 0, "must be all, a number of GPUs"),
        ("gpus", [], "must be all, a number of GPUs"),
        ("gpus", ["0,1"], "must be all, a number of GPUs"),
        ("gpus", True, "must be all, a number of GPUs"),
        ("gpus", {"count": 1}, "must be all, a number of GPUs"),
        ("tensor_parallel", 0, "1 GPU or more"),
        ("cpu_cache", 0, "1 GiB or more"),
        ("shm_size", "lots", "such as 8g"),
        ("start_period", -1, "between 0 and 86400 seconds"),
        ("hf_token", "short", "8 or more printable characters"),
        ("arguments", ["--api-key=x"], "--api-key cannot be given here"),
        ("arguments", ["--max-model-len=1"], "--max-model-len cannot be given here"),
        ("arguments", ["-tp=2"], "-tp cannot be given here"),
        ("arguments", ["--api_key=x"], "--api_key cannot be given here"),
        ("arguments", ["--api-k=x", "--seed=1"], "--api-k cannot be given here"),
        ("arguments", ["--no_enable-auto-tool-choice"], "--no_enable-auto-tool-choice cannot be given here"),
        ("arguments", ["--ssl_keyfile=/x"], "--ssl_keyfile cannot be given here"),
        ("arguments", ["--config=/model/x.yaml"], "--config cannot be given here"),
        ("arguments", ["seed"], "an option with its value"),
        ("environment", {"HF_TOKEN": TOKEN}, "letta_stack_vllm_hf_token"),
        ("environment", {"S3_SECRET": TOKEN}, "S3_SECRET cannot be given here"),
        ("environment", {"a-b": 1}, "a name has letters"),
    ],
)
def test_a_bad_setting_is_one_clear_complaint(evaluate, name, value, allowed):
    (complaint,) = evaluate(COMPLAINTS, **{name: value})
    assert complaint.startswith("letta_stack_vllm_")
    assert allowed in complaint
    assert TOKEN not in complaint


def test_options_that_only_resemble_the_role_s_own_are_taken(evaluate):
    others = ["--model-impl=vllm", "--max-num-seqs=8", "--tokenizer_mode=auto", "-O3", "--hf-overrides={}"]
    assert evaluate(COMPLAINTS, arguments=others) == []


@pytest.mark.parametrize(
    ("settings", "complaint"),
    [
        ({"gpus": "cpu"}, "vllm/vllm-openai:v0.32.0 does not work without a GPU; for cpu set letta_images_vllm"),
        ({"letta_images_vllm": "agentfleet/vllm-cpu:0.32.0"}, "agentfleet/vllm-cpu:0.32.0 knows no GPU; set it to cpu"),
        ({"gpus": 1, "tensor_parallel": 2}, "letta_stack_vllm_gpus gives 1"),
        ({"gpus": [0], "tensor_parallel": 2}, "letta_stack_vllm_gpus gives 1"),
        ({"offline": True, "hf_token": TOKEN}, "leave one of them out"),
        ({"letta_stack_environment": {"VLLM_API_BASE": "http://other:8000/v1"}}, "leads Letta to its own vLLM"),
        ({"letta_stack_environment": {"VLLM_HANDLE_BASE": "mine"}}, "whose handle is vllm/Qwen3-8B"),
        (
            {"letta_stack_environment": {"HTTP_PROXY": "http://proxy:1"}},
            "letta_stack_environment.NO_PROXY: must name vllm",
        ),
    ],
)
def test_settings_that_contradict_each_other_are_refused(evaluate, settings, complaint):
    (found,) = evaluate(COMPLAINTS, **settings)
    assert complaint in found
    assert TOKEN not in found


def test_the_settings_of_vllm_are_of_no_concern_elsewhere(render):
    assert render("letta_stack", COMPLAINTS, letta_stack_vllm_model="", letta_stack_vllm_gpus=0) == []
