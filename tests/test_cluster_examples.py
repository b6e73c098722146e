"""What the page on clusters gives to copy, and the image: held against Slurm, KubeRay and Docker."""

from __future__ import annotations

import re
import shlex
import subprocess
import tomllib
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from nas.cli.main import build_parser

ROOT = Path(__file__).parents[1]
PAGE = (ROOT / "docs" / "cluster.md").read_text()
DOCKERFILE = (ROOT / "Dockerfile").read_text()


def mapping(
    properties: dict[str, Any], required: tuple[str, ...] = (), closed: bool = True
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": not closed,
    }


def items(of: dict[str, Any]) -> dict[str, Any]:
    return {"type": "array", "minItems": 1, "items": of}


TEXT, WHOLE, FLAG = {"type": "string"}, {"type": "integer"}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"anyOf": [{"type": "integer"}, {"type": "string", "pattern": r"^\d+(\.\d+)?([KMGT]i?|m)?$"}]}
POD = mapping(
    {
        "spec": mapping(
            {
                "containers": items(
                    mapping(
                        {
                            "name": TEXT,
                            "image": TEXT,
                            "resources": mapping(
                                {"limits": {"type": "object", "additionalProperties": QUANTITY}}
                            ),
                            "volumeMounts": items(
                                mapping({"name": TEXT, "mountPath": TEXT}, ("name", "mountPath"))
                            ),
                        },
                        ("name", "image"),
                    )
                ),
                "volumes": items(
                    mapping(
                        {
                            "name": TEXT,
                            "persistentVolumeClaim": mapping({"claimName": TEXT}, ("claimName",)),
                        },
                        ("name",),
                    )
                ),
            },
            ("containers",),
        )
    },
    ("spec",),
)
RAY_JOB = mapping(
    {
        "apiVersion": {"const": "ray.io/v1"},
        "kind": {"const": "RayJob"},
        "metadata": mapping(
            {"name": {"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}}, ("name",)
        ),
        "spec": mapping(
            {
                "entrypoint": TEXT,
                "backoffLimit": WHOLE,
                "shutdownAfterJobFinishes": FLAG,
                "rayClusterSpec": mapping(
                    {
                        "authOptions": mapping({"mode": {"enum": ["disabled", "token"]}}),
                        "headGroupSpec": mapping({"rayStartParams": TEXTS, "template": POD}, ("template",)),
                        "workerGroupSpecs": items(
                            mapping(
                                {
                                    "groupName": TEXT,
                                    "replicas": WHOLE,
                                    "minReplicas": WHOLE,
                                    "maxReplicas": WHOLE,
                                    "rayStartParams": TEXTS,
                                    "template": POD,
                                },
                                ("groupName", "minReplicas", "maxReplicas", "template"),
                            )
                        ),
                    },
                    ("headGroupSpec",),
                ),
            },
            ("entrypoint", "rayClusterSpec"),
        ),
    },
    ("apiVersion", "kind", "metadata", "spec"),
)
"""The part that we use of the schema of RayJob in KubeRay's custom resource definitions (operator 1.6)."""


def ray_job() -> Any:
    (found,) = re.findall(r"^```yaml\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return yaml.safe_load(found)


def script() -> str:
    (found,) = re.findall(r"^```bash\n(.*?)^```", PAGE, re.MULTILINE | re.DOTALL)
    return str(found)


def check_nas(text: str) -> None:
    """Checks that every `nas` command of a text is one that the command line knows."""
    commands = re.findall(r"\bnas ((?:search|resume)\b[^;&|'\n]*)", text)
    assert commands
    for command in commands:
        build_parser().parse_args([word.replace("$", "") for word in shlex.split(command)])


def test_the_job_of_kuberay_is_one() -> None:
    job = ray_job()
    jsonschema.validate(job, RAY_JOB)
    check_nas(re.sub(r"\s+", " ", job["spec"]["entrypoint"]))
    cluster = job["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    for pod in pods:
        volumes = {volume["name"] for volume in pod["volumes"]}
        mounts = [mount for container in pod["containers"] for mount in container["volumeMounts"]]
        assert {mount["name"] for mount in mounts} == volumes
        assert {mount["mountPath"] for mount in mounts} == {"/shared", "/data"}
    assert job["spec"]["shutdownAfterJobFinishes"] is True
    assert cluster["authOptions"] == {"mode": "token"}


@pytest.mark.parametrize(
    ("key", "value"), [("replicas", "13"), ("maxReplica", 13), ("rayStartParams", {"num-cpus": 0})]
)
def test_the_schema_finds_slips(key: str, value: object) -> None:
    job = ray_job()
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0][key] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(job, RAY_JOB)


def test_the_script_of_slurm_is_one() -> None:
    text = script()
    subprocess.run(["bash", "-n"], input=text, text=True, check=True)
    check_nas(text.replace("\\\n", " "))
    options = re.findall(r"--([\w-]+)(?:=\S+)?", "\n".join(re.findall(r"^#SBATCH (.*)$", text, re.MULTILINE)))
    known = {"nodes", "ntasks-per-node", "gpus-per-node", "cpus-per-task", "time", "signal"}
    assert set(options) == known
    assert "SRUN_CPUS_PER_TASK" in text, "srun takes no --cpus-per-task from sbatch"
    assert "RAY_AUTH_MODE=token" in text


def instructions() -> list[tuple[str, str]]:
    """The instructions of the Dockerfile, as (name, rest)."""
    lines = "\n".join(line for line in DOCKERFILE.splitlines() if not line.startswith("#"))
    joined = re.sub(r"\\\n\s*", "", lines).splitlines()
    return [(name, rest) for line in joined if line.strip() for name, _, rest in [line.partition(" ")]]


def test_the_image_can_be_made_of_what_is_here() -> None:
    found = instructions()
    names = [name for name, _ in found]
    assert set(names) <= {"FROM", "RUN", "COPY", "ENV", "WORKDIR", "USER", "CMD"}
    assert names[0] == "FROM"
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    python = re.match(r"python:(3\.\d+)-", found[0][1])
    assert python is not None
    assert about["project"]["requires-python"] == f">={python[1]}"
    for name, rest in found:
        if name == "RUN":
            subprocess.run(["bash", "-n"], input=rest, text=True, check=True)
        elif name == "COPY" and not rest.startswith("--from="):
            *sources, _ = rest.split()
            assert all((ROOT / source).exists() for source in sources), rest
    assert names[-2:] == ["USER", "CMD"], "it does not run as root"


def test_the_image_has_what_kuberay_asks_it_for() -> None:
    installed = " ".join(rest for name, rest in instructions() if name == "RUN")
    assert all(word in installed for word in ("bash", "wget", '"ray[default]=='))


def test_versions_of_the_image_are_those_of_the_package() -> None:
    about = tomllib.loads((ROOT / "pyproject.toml").read_text())
    tags = set(re.findall(r"registry\.example/spinenas:(\S+)", PAGE + DOCKERFILE))
    assert tags == {about["project"]["version"]}


def test_what_the_image_leaves_out_is_nothing_that_it_needs() -> None:
    left_out = (ROOT / ".dockerignore").read_text().split()
    needed = (
        "nas",
        "search_space",
        "controllers",
        "proxy_tasks",
        "configs",
        "README.md",
        "LICENSE",
        "uv.lock",
    )
    assert not set(left_out) & set(needed)
