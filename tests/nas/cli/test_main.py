"""The command line as a user meets it: real processes, real files, wrong input too."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from nas.cli.main import main
from search_space import HEADS, PUBLISHED_SPECS, SCALES, SPACES, published_spec


def run(*arguments: str, cwd: Path | None = None) -> subprocess.CompletedProcess[str]:
    root = str(Path(__file__).parents[3])
    return subprocess.run(
        [sys.executable, "-m", "nas", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": root},
        timeout=60,
    )


def test_module_and_script_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("nas")
    by_script = subprocess.run([script, "spec", "show", "spinenet-49"], capture_output=True, text=True)
    by_module = run("spec", "show", "spinenet-49")
    assert by_script.returncode == by_module.returncode == 0
    assert by_script.stdout == by_module.stdout
    assert "abead80f5a74b362470093e2f3f4bf54" in by_module.stdout


def test_help_names_the_commands_and_version_is_told() -> None:
    found = run("--help")
    assert found.returncode == 0
    assert "spec" in found.stdout
    assert "spaces" in found.stdout
    assert run("--version").stdout.startswith("nas ")


def test_show_prints_a_spec_file_that_comes_back(tmp_path: Path) -> None:
    text = run("spec", "show", "spinenet-49", "--json").stdout
    (tmp_path / "mine.json").write_text(text)
    assert run("spec", "show", "mine.json", "--json", cwd=tmp_path).stdout == text


def test_check_names_dead_blocks_and_spaces(tmp_path: Path) -> None:
    data = json.loads(published_spec("spinenet-49").to_json())
    data["blocks"].append({"level": 3, "kind": "residual", "parents": [0, 1], "output": False})
    (tmp_path / "dead.json").write_text(json.dumps(data))
    found = run("spec", "check", "dead.json", "spinenet-49", "--json", cwd=tmp_path)
    first, second = map(json.loads, found.stdout.splitlines())
    assert found.returncode == 0
    assert first["dead"] == [17]
    assert second["dead"] == []
    assert first["key"] == second["key"]
    assert second["spaces"] == ["spinenet-49"]
    assert "dead, never built: 17" in run("spec", "check", "dead.json", cwd=tmp_path).stdout


def test_check_goes_on_after_a_bad_spec(tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_text("{}")
    found = run("spec", "check", "bad.json", "spinenet-49", cwd=tmp_path)
    assert found.returncode == 2
    assert found.stderr.startswith("nas: bad.json: not a spec")
    assert "spinenet-49: valid" in found.stdout


def test_cost_prints_the_exact_numbers() -> None:
    found = run(
        *("spec", "cost", "spinenet-49", "--scale", "49", "--size", "640"),
        *("--classes", "91", "--head", "retinanet", "--json", "--parts"),
    )
    cost = json.loads(found.stdout)
    assert cost["params"] == 28_543_383
    assert round(cost["macs"] / 1e9, 2) == 85.28
    assert sum(part["params"] for part in cost["parts"]) == cost["params"]


def test_cost_takes_two_sides_and_changed_scales(capsys: pytest.CaptureFixture[str]) -> None:
    assert (
        main(["spec", "cost", "r0-sp53", "--size", "480x640", "--scale", "proxy,repeats=2", "--parts"]) == 0
    )
    assert "block 16" in capsys.readouterr().out


def test_draw_writes_beside_the_user_and_says_where(tmp_path: Path) -> None:
    (tmp_path / "my spec.json").write_text(published_spec("r0-sp53").to_json())
    found = run("spec", "draw", "my spec.json", cwd=tmp_path)
    assert found.stdout == "my spec.svg\n"
    assert (tmp_path / "my spec.svg").stat().st_size > 10_000
    found = run("spec", "draw", "spinenet-49", "-o", "net.png", "--title", "SpineNet-49", cwd=tmp_path)
    assert (tmp_path / "net.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("name", PUBLISHED_SPECS)
def test_every_family_is_shown_checked_and_costed_alike(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spec = published_spec(name)
    assert main(["spec", "show", name]) == 0
    assert capsys.readouterr().out.endswith(f"key {spec.key()}\n")
    assert main(["spec", "check", name]) == 0
    assert f"{name}: valid, {spec.describe().summary}, key {spec.key()}\n" in capsys.readouterr().out
    assert main(["spec", "check", name, "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["key"] == spec.key()
    for head in HEADS:
        assert main(["spec", "cost", name, "--size", "96x128", "--head", head, "--json", "--parts"]) == 0
        cost, expected = json.loads(capsys.readouterr().out), spec.cost(SCALES["49"], (96, 128), head)
        assert (cost["params"], cost["macs"]) == (expected.params, expected.macs)
        assert cost["activation_bytes"] == sum(part["activation_bytes"] for part in cost["parts"])


def test_spaces_are_listed_with_exact_sizes() -> None:
    sizes = json.loads(run("spaces", "--json").stdout)
    assert {name for name in sizes if "specs" in sizes[name]} == {*SPACES, "custom", "nas-bench-201"}
    assert sizes["nas-bench-201"]["genotypes"] == 5**6
    assert "genotypes" not in sizes["choices"]  # It is one only with choices.
    assert sizes["r35-sp18"]["genotypes"] == 120 * 10 * 66 * 78 * 91 * 105 * 120
    listing = run("spaces").stdout
    assert "spinenet-49" in listing
    assert "nas-fpn" in listing


WRONG = [
    (["sepc"], 2, "did you mean spec?"),
    (["spec", "shwo", "x"], 2, "did you mean show?"),
    (["spec", "show"], 2, "SPEC"),
    (["spec", "show", "spinnet-49"], 2, "did you mean spinenet-49?"),
    (["spec", "show", "absent.json"], 2, "absent.json: no such file"),
    (["spec", "show", "/"], 2, "not a regular file"),
    (["spec", "show", "/dev/zero"], 2, "not a regular file"),
    (["spec", "show", "spinenet-143"], 2, "scale 143"),
    (["spec", "show", "x", "--jsn"], 2, "--jsn"),
    (["spec", "cost", "spinenet-49", "--size", "big"], 2, "--size must be pixels"),
    (["spec", "cost", "spinenet-49", "--size", "0"], 2, "size must be pixels"),
    (["spec", "cost", "spinenet-49", "--size", "99999999999"], 2, "--size must be pixels"),
    (["spec", "cost", "spinenet-49", "--scale", "50"], 2, "unknown scale"),
    (["spec", "cost", "spinenet-49", "--head", "mask"], 2, "mask"),
    (["spec", "cost", "spinenet-49", "--classes", "91"], 2, "--classes needs a head"),
    (["spec", "cost", "spinenet-49", "--head", "retinanet", "--classes", "-3"], 2, "classes must be"),
    (["spec", "cost", "nas-fpn", "--head", "retinnet"], 2, "did you mean retinanet?"),
    (["spec", "draw", "nas-fpn"], 2, "nas-fpn: a spec of the family NAS-FPN cannot be drawn"),
    (["spec", "draw", "spinenet-49", "-o", "x.gif"], 2, ".svg, .png, .pdf"),
    (["spec", "draw", "spinenet-49", "-o", "/absent/x.svg"], 1, "/absent/x.svg: No such file"),
    (["spec", "draw", "spinenet-49", "-o", "/dev/full/x.svg"], 1, "/dev/full/x.svg"),
]


@pytest.mark.parametrize(("arguments", "status", "expected"), WRONG)
def test_wrong_usage_is_answered_in_one_clear_line(
    arguments: list[str], status: int, expected: str, capsys: pytest.CaptureFixture[str]
) -> None:
    try:
        found = main(arguments)
    except SystemExit as end:  # As argparse ends.
        found = int(end.code or 0)
    out, err = capsys.readouterr()
    assert found == status
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith("nas")
    assert expected in err


@pytest.mark.parametrize(("arguments", "status", "expected"), WRONG[:1] + WRONG[-1:])
def test_a_process_answers_wrong_usage_alike(arguments: list[str], status: int, expected: str) -> None:
    found = run(*arguments)
    assert (found.returncode, found.stdout) == (status, "")
    assert len(found.stderr.splitlines()) == 1
    assert expected in found.stderr


def test_the_name_of_a_file_does_not_steer_the_terminal(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "a\n\x1b[2J.json"
    path.write_text("[1")
    assert main(["spec", "show", str(path)]) == 2
    said = capsys.readouterr().err
    assert r"a \x1b[2J.json: " in said
    assert said.count("\n") == 1


def test_a_command_without_an_action_shows_its_help() -> None:
    for arguments in ([], ["spec"]):
        found = run(*arguments)
        assert found.returncode == 2
        assert found.stderr.startswith("usage: nas")


def test_a_reader_that_leaves_early_is_no_error() -> None:
    command = f"{sys.executable} -m nas spec show spinenet-49 --json | head -1; exit ${{PIPESTATUS[0]}}"
    found = subprocess.run(["bash", "-c", command], capture_output=True, text=True)
    assert found.returncode == 0
    assert found.stderr == ""


def test_an_interrupt_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("search_space.load_spec", interrupted)
    assert main(["spec", "show", "spinenet-49"]) == 130
    assert capsys.readouterr().err == "nas: interrupted\n"


def test_the_command_leaves_the_process_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    before = (list(sys.path), list(sys.argv))
    assert main(["search", "--cfg", "job", "task=synthetic"]) == 0
    assert main(["search", "trails=1"]) == 2
    assert (sys.path, sys.argv) == before
