"""The Dockerfile and the scripts of batch systems: linted, of one piece with the package, and run where that is."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer.main

from crackdask.cli import app
from crackdask.recipe.recipe import load_site
from crackdask.recipe.site import ClusterParams
from tests.support.manifests import DEPLOY
from tests.support.slurm import Slurm
from tests.support.tiny import Tiny

ROOT = DEPLOY.parent
DOCKERFILE = (DEPLOY / "Dockerfile").read_text()
SCRIPTS = sorted([*DEPLOY.rglob("*.sh"), *DEPLOY.rglob("*.sbatch"), *DEPLOY.rglob("*.pbs")])
BATCH = [path for path in SCRIPTS if path.suffix != ".sh"]
SBATCH = [path for path in SCRIPTS if path.suffix == ".sbatch"]
BIN = Path(sys.executable).parent


def lint(program: str, text: str, *words: str) -> str:
    """Return what a linter of the test environment says of a text; "" if all is well."""
    done = subprocess.run([BIN / program, *words, "-"], input=text, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert (done.returncode == 0) == (said == ""), said
    return said


# ------------------------------------------------------------ the image


def test_the_dockerfile_is_clean() -> None:
    assert lint("hadolint", DOCKERFILE) == ""


@pytest.mark.parametrize(
    ("line", "instead", "rule"),
    [
        ("USER 10001:10001", "USER root", "DL3002"),
        ("WORKDIR /data", "WORKDIR data", "DL3000"),
        ("FROM ${BASE}\n#", "FROM python:latest\n#", "DL3007"),
        ("# hadolint ignore=DL3008\n", "", "DL3008"),
        ("ENTRYPOINT [", "ENTRY [", "unexpected"),
    ],
)
def test_a_worse_dockerfile_is_refused(line: str, instead: str, rule: str) -> None:
    assert line in DOCKERFILE
    assert rule in lint("hadolint", DOCKERFILE.replace(line, instead))


def test_the_base_is_pinned_and_the_user_is_a_number() -> None:
    (base,) = re.findall(r"^ARG BASE=(\S+)$", DOCKERFILE, re.MULTILINE)
    assert re.fullmatch(r"python:\d+\.\d+\.\d+-slim-[a-z]+(@sha256:[0-9a-f]{64})?", base)
    assert re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE) == ["${BASE}", "${BASE}"]
    assert re.findall(r"^USER (.*)$", DOCKERFILE, re.MULTILINE) == ["10001:10001"]


def test_only_what_is_copied_reaches_the_builder() -> None:
    patterns = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if not line.startswith("#")]
    assert patterns[0] == "*"
    let_in = {pattern[1:] for pattern in patterns if pattern.startswith("!")}
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)$", DOCKERFILE, re.MULTILINE) for word in line.split()[:-1]
    }
    assert let_in == copied
    assert all((ROOT / name).exists() for name in copied)


def test_the_image_builds_and_runs() -> None:
    if not os.environ.get("CRACKDASK_CHECK_IMAGE"):
        pytest.skip("takes five minutes: set CRACKDASK_CHECK_IMAGE=1, or run deploy/check_image.sh")
    if missing := [tool for tool in ("buildah", "debootstrap", "crun") if not shutil.which(tool)]:
        pytest.skip(f"{', '.join(missing)} not found; on Debian: apt-get install buildah debootstrap crun")
    done = subprocess.run([DEPLOY / "check_image.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]


# ------------------------------------------------------------ scripts


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.name)
def test_scripts_are_clean(path: Path) -> None:
    subprocess.run(["bash", "-n", path], check=True)
    assert lint("shellcheck", path.read_text()) == ""
    assert "SC2086" in lint("shellcheck", path.read_text() + "\nrm $here $recipe $STORE\n")


@pytest.mark.parametrize("path", BATCH, ids=lambda path: path.name)
def test_scripts_call_crackdask_as_it_wants_to_be_called(path: Path) -> None:
    group: Any = typer.main.get_command(app)
    text = path.read_text().replace("\\\n", " ")
    calls = re.findall(r"^(?:# *`|exec )?crackdask (run|submit) (.*?)(?: &|`.*)?$", text, re.MULTILINE)
    assert any(command == "run" for command, _ in calls)
    for command, words in calls:
        filled = re.sub(r"\$(\w+|\{[^}]*\})", "2", words)
        context = group.get_command(None, command).make_context(command, shlex.split(filled))
        assert context.params["cluster"]


@pytest.mark.parametrize("path", sorted(DEPLOY.rglob("site.toml")), ids=lambda path: path.parent.name)
def test_what_a_site_may_be_asked_for(path: Path, tmp_path: Path) -> None:
    """As it stands, and with every line that is a comment now."""
    everything = tmp_path / "site.toml"
    everything.write_text(re.sub(r"^# (?=\w+ = )", "", path.read_text(), flags=re.MULTILINE))
    assert everything.read_text() != path.read_text()
    for file in (path, everything):
        site = load_site(file, ClusterParams(), kind=path.parent.name)
        assert (site.workers, site.cores, site.memory) == (64, 8, 20 * 2**30)


@pytest.mark.parametrize("path", sorted(DEPLOY.glob("pbs/*.pbs")), ids=lambda path: path.name)
def test_directives_of_pbs(path: Path) -> None:
    """As PBS Professional's manual has them; there is no PBS here to ask."""
    head = path.read_text().split("set -euo")[0]
    found = re.findall(r"^#PBS (.*)$", head, re.MULTILINE)
    assert path.read_text().count("#PBS") == len(found)
    known = r"-N \w+|-l select=\d+:ncpus=\d+:mem=\d+gb|-l walltime=\d+:\d\d:\d\d|-r y|-j oe"
    assert [line for line in found if not re.fullmatch(known, line)] == []
    assert {"-l", "-N"} <= {line.split()[0] for line in found}


#: What fits on two nodes of two cores.
SMALL = {
    "one_node": ["--cpus-per-task=2", "--mem=3G"],
    "many_nodes": ["--nodes=2", "--ntasks-per-node=1", "--mem-per-cpu=1500M"],
    "with_worker_jobs": ["--mem=2G", "--cpus-per-task=1"],
}


@pytest.mark.parametrize("path", SBATCH, ids=lambda path: path.name)
def test_slurm_accepts_the_script(path: Path, slurm: Slurm, tmp_path: Path) -> None:
    slurm.command("sbatch", "--test-only", *SMALL[path.stem], str(path))
    broken = tmp_path / path.name
    broken.write_text(path.read_text().replace("#SBATCH --time=", "#SBATCH --thyme="))
    with pytest.raises(AssertionError, match="thyme"):
        slurm.command("sbatch", "--test-only", *SMALL[path.stem], str(broken))


@pytest.mark.parametrize("name", ["one_node", "many_nodes"])
def test_a_run_in_an_allocation_gives_the_store_of_a_local_run(
    name: str, slurm: Slurm, finished: Tiny, tmp_path: Path
) -> None:
    tiny = Tiny(tmp_path)
    environment = {"CRACKDASK_ENV": BIN.parent, "CRACKDASK_INTERFACE": "lo", "CRACKDASK_PRIVATE": tmp_path}
    words = ",".join(["ALL", *(f"{key}={value}" for key, value in environment.items())])
    script = DEPLOY / "slurm" / f"{name}.sbatch"
    log = tmp_path / "job.log"
    said = slurm.command(
        "sbatch", "--parsable", f"--chdir={tmp_path}", f"--output={log}", f"--export={words}", *SMALL[name],
        str(script), str(tiny.recipe), str(tiny.store),
    )  # fmt: skip
    number = int(said.strip())
    slurm.wait(lambda: slurm.state(number) in ("COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"), 240)
    assert slurm.state(number) == "COMPLETED", log.read_text()
    finished.assert_same_store(tiny.store, finished.store)
    assert list(tmp_path.glob(".crackdask-*")) == []  # the certificate went with the job
