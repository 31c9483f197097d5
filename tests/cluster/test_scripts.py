"""What is asked of each batch system, and of Kubernetes, in its own words; no cluster needed."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
from distributed import Client

from crackdask.batch_systems import BATCH_SYSTEMS
from crackdask.cluster.errors import ClusterError
from crackdask.cluster.tls import in_files
from crackdask.recipe.recipe import RecipeError, check, load_site
from crackdask.recipe.site import ClusterParams, Site
from tests.support.tiny import Tiny

jobqueue = pytest.importorskip("crackdask.cluster.jobqueue", reason="no dask-jobqueue: pip install crackdask[hpc]")

ASKED = Site.model_validate(
    {
        "queue": "long", "account": "nmc811", "walltime": "26 h", "cores": 4, "interface": "lo", "memory": "10 GiB",
        "prologue": ["module load python"], "directives": ["-pe smp 4"], "python": "/opt/py thon/bin/python",
    }
)  # fmt: skip


def worker_script(system: str, folder: Path, **changes: Any) -> list[str]:
    """Return the lines of the job that holds workers."""

    async def made() -> Any:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ResourceWarning)  # a cluster that is looked at and never begun
            cluster = jobqueue.make(system, 8, 2**30, ASKED.model_copy(update=changes), folder, None, asynchronous=True)
            script = cluster.job_script()
            await cluster.close()
            del cluster
            return script

    return str(asyncio.run(made())).splitlines()


# As in the man pages of sbatch, qsub (PBS Pro), bsub and qsub (Grid Engine).
WANTED = {
    "slurm": ["#SBATCH -p long", "#SBATCH -A nmc811", "#SBATCH -n 1", "#SBATCH --cpus-per-task=4",
              "#SBATCH --mem=10G", "#SBATCH -t 1-02:00:00"],
    "pbs": ["#PBS -q long", "#PBS -A nmc811", "#PBS -l select=1:ncpus=4:mem=10GB", "#PBS -l walltime=26:00:00"],
    "lsf": ["#BSUB -q long", '#BSUB -P "nmc811"', "#BSUB -n 4", '#BSUB -R "span[hosts=1]"', "#BSUB -W 26:00"],
    "sge": ["#$ -q long", "#$ -P nmc811", "#$ -pe smp 4", "#$ -l h_rt=26:00:00"],
}  # fmt: skip


@pytest.mark.parametrize("system", BATCH_SYSTEMS)
def test_jobs_of_workers_ask_for_what_the_site_says(system: str, tmp_path: Path) -> None:
    lines = worker_script(system, tmp_path)
    assert [line for line in WANTED[system] if line not in lines] == []
    command = lines[-1] if lines[-1] else lines[-2]
    assert command.startswith("'/opt/py thon/bin/python' -m distributed.cli.dask_worker ")
    for words in ("--nthreads 1", "--nworkers 4", "--memory-limit 2.50GiB", "--nanny", "--interface lo",
                  "--protocol tls://", "--no-dashboard", "--dashboard-address 127.0.0.1:0"):  # fmt: skip
        assert words in command
    leaves, stagger = (int(command.split(f"{word} ")[1].split("s")[0]) for word in ("--lifetime", "--lifetime-stagger"))
    assert leaves + stagger <= 26 * 3600 - 300
    assert stagger == 240
    body = lines[: lines.index(command)]
    for line in ("module load python", "export OMP_NUM_THREADS=1", "export MALLOC_ARENA_MAX=2",
                 "export DASK_DISTRIBUTED__WORKER__MEMORY__SPILL=False"):  # fmt: skip
        assert line in body


def test_workers_leave_also_before_the_walltime_that_nobody_named(tmp_path: Path) -> None:
    for system in BATCH_SYSTEMS:
        [command] = [line for line in worker_script(system, tmp_path, walltime=None) if "dask_worker" in line]
        assert "--lifetime 1320s --lifetime-stagger 180s" in command  # of the half hour that dask-jobqueue asks for


@pytest.mark.parametrize("walltime", [60, 600, 3600, 86_400])
def test_workers_leave_before_their_walltime_and_not_all_at_once(walltime: int) -> None:
    leaves, stagger = jobqueue.lifetime(walltime)
    assert walltime * 0.5 < leaves - stagger < leaves + stagger < walltime
    assert stagger > 0


SUBMITTED = {
    "slurm": ["#SBATCH --cpus-per-task=3", "#SBATCH --mem=7168M", "#SBATCH --time=04:00:00", "#SBATCH --partition=long",
              "#SBATCH --account=nmc811", "#SBATCH --requeue", "#SBATCH --signal=B:TERM@120"],
    "pbs": ["#PBS -l select=1:ncpus=3:mem=7168mb", "#PBS -l walltime=04:00:00", "#PBS -q long", "#PBS -A nmc811"],
    "lsf": ["#BSUB -n 3", "#BSUB -M 7168MB", "#BSUB -W 04:00", "#BSUB -q long", "#BSUB -wa TERM", "#BSUB -wt 2"],
    "sge": ["#$ -l h_rt=04:00:00", "#$ -q long", "#$ -notify", "#$ -pe smp 3"],
}  # fmt: skip


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text('queue = "long"\naccount = "nmc811"\nwalltime = "4 h"\ndirectives = ["-pe smp 3"]\nworkers = 3\n')
    return path


@pytest.mark.parametrize("system", BATCH_SYSTEMS)
def test_a_submitted_script_is_shell_and_asks_for_a_node(system: str, tiny: Tiny, site: Path) -> None:
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster", system, "--cluster-config", site, "--dry-run")
    said = tiny.crackdask(*words)
    assert said.code == 0, said.err
    lines = said.out.splitlines()
    assert [line for line in SUBMITTED[system] if line not in lines] == []
    assert lines[-1].endswith(
        f"-m crackdask run {tiny.recipe} --store {tiny.store} --cluster local --workers 3 --cluster-config {site}"
    )
    assert lines[-1].startswith("exec "), "the job's signals reach the run itself"
    subprocess.run(["bash", "-n"], input=said.out, text=True, check=True)
    spread = tiny.crackdask(*words, "--spread", "--until", "grey").out.splitlines()[-1]
    assert f"--cluster {system} --workers 3 --until grey" in spread
    assert not tiny.store.with_name("out.zarr.work").exists(), "a dry run leaves nothing"


def test_a_run_that_watches_is_submitted_before_its_scans_are_there(tiny: Tiny, site: Path) -> None:
    tiny.content["states"].append(tiny.content["states"][1] | {"name": "3.6 V", "source": "scans/later"})
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster", "slurm", "--cluster-config", site, "--dry-run")
    assert "no such file or folder" in tiny.crackdask(*words).err
    options = ("--watch", "--settle", "5", "--until-state", "3.6 V", "--on-state", "echo $CRACKDASK_STATE")
    said = tiny.crackdask(*words, *options)
    assert said.code == 0, said.err
    asked = "--watch --settle 5.0 --until-state '3.6 V' --on-state 'echo $CRACKDASK_STATE'"
    assert f" --workers 3 {asked} --cluster-config {site}" in said.out.splitlines()[-1]
    for state in tiny.content["states"]:
        state["source"] = f"scans/{state['name']}"
    tiny.recipe.read_text()
    assert tiny.crackdask(*words, *options).code == 0, "not even one scan has to be there"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("--cluster", "local"), "'local' is no batch system"),
        (("--cluster", "kubernetes"), "deploy/kubernetes"),
        (("--cluster", "slurm", "--until", "gray"), "'gray' is no step"),
        (("--cluster", "sge", "--workers", "2"), 'directives = ["-pe NAME 2"]'),
        (("--cluster", "lsf"), "there is no `bsub` here"),
    ],
)
def test_what_cannot_be_submitted_is_told(tiny: Tiny, words: tuple[str, ...], said: str) -> None:
    found = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--workers", "1", *words)
    assert found.code == 2
    assert said in " ".join(found.err.replace("│", " ").split())


def test_memory_of_a_job_is_shared_by_its_cores_however_many_it_holds(tiny: Tiny, site: Path) -> None:
    site.write_text('cores = 8\nmemory = "20 GiB"\nworkers = 64\n')
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster", "slurm", "--cluster-config", site, "--dry-run")
    assert f"#SBATCH --mem={161 * 1024}M" in tiny.crackdask(*words).out.splitlines()  # and 1 GiB for the client
    assert f"#SBATCH --mem={2 * 1024}M" in tiny.crackdask(*words, "--spread").out.splitlines()


@pytest.mark.parametrize("words", [("check",), ("run",), ("submit", "--dry-run"), ("submit", "--spread", "--dry-run")])
def test_too_little_memory_for_a_worker_is_told_before_anything_is_asked_for(
    tiny: Tiny, site: Path, words: tuple[str, ...]
) -> None:
    found = {"cores": 2, "memory": "1 GiB", "workers": 2}
    if words == ("check",):
        tiny.change("cluster", kind="kubernetes", **found)
        said = tiny.crackdask("check", tiny.recipe)
    else:
        site.write_text("".join(f"{key} = {value!r}\n" for key, value in found.items()))
        there = ("--store", tiny.store, "--cluster", "slurm", "--cluster-config", site)
        said = tiny.crackdask(words[0], tiny.recipe, *there, *words[1:])
    assert said.code == 2
    assert "1024 MiB for a job of 2 cores leaves 512 MiB for each worker, and one takes 1024 MiB" in said.err
    assert 'memory = "2048 MiB"' in said.err
    assert not tiny.store.with_name("out.zarr.work").exists()


def test_a_job_that_holds_the_run_may_outlive_those_of_its_workers(tiny: Tiny, site: Path) -> None:
    site.write_text('walltime = "4 h"\nrun_walltime = "3 d"\nworkers = 2\n')
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster", "slurm", "--cluster-config", site, "--dry-run")
    assert "#SBATCH --time=3-00:00:00" in tiny.crackdask(*words, "--spread").out.splitlines()
    assert "#SBATCH --time=04:00:00" in tiny.crackdask(*words).out.splitlines(), "all workers are in it"


def test_the_folder_of_a_site_holds_the_logs_of_a_job(tiny: Tiny, site: Path, tmp_path: Path) -> None:
    site.write_text(f'folder = "{tmp_path / "shared"}"\n')
    tiny.store = tmp_path / "my store.zarr"
    words = ("submit", tiny.recipe, "--store", tiny.store, "--cluster", "slurm", "--cluster-config", site, "--dry-run")
    assert f"#SBATCH --output={tmp_path}/shared/logs/run-%j.log" in tiny.crackdask(*words).out.splitlines()


def test_a_batch_system_that_is_not_here_is_told(tiny: Tiny) -> None:
    said = tiny.run("--cluster", "lsf")
    assert said.code == 2
    assert "there is no `bsub` here" in said.err
    assert not tiny.store.with_name("out.zarr.work").exists()


def test_a_folder_that_no_script_can_name_is_told(tmp_path: Path) -> None:
    tiny = Tiny(tmp_path / "my scans")
    said = tiny.crackdask("submit", tiny.recipe, "--store", tiny.store, "--cluster", "slurm")
    assert said.code == 2
    assert "put the store where the path has no spaces" in " ".join(said.err.split())


# ---------------------------------------------------------------- [cluster]


def test_a_site_goes_over_the_recipe_and_options_over_both(tmp_path: Path) -> None:
    recipe = ClusterParams.model_validate({"kind": "pbs", "queue": "a", "walltime": "90 min", "workers": 2})
    path = tmp_path / "site.toml"
    path.write_text('[cluster]\nqueue = "b"\nworkers = 3\n')
    found = load_site(path, recipe, workers=4, kind=None)
    assert (found.kind, found.queue, found.walltime, found.workers) == ("pbs", "b", 5400, 4)


def test_everything_wrong_in_a_site_is_told_together(tmp_path: Path) -> None:
    path = tmp_path / "site.toml"
    path.write_text('queu = "b"\nworkers = 0\nwalltime = "soon"\ncores = "4"\nkind = "slrum"\n')
    with pytest.raises(RecipeError) as caught:
        load_site(path, ClusterParams())
    said = str(caught.value)
    assert "5 mistakes" in said
    for part in ("queu: unknown key; did you mean queue?", "workers: ", "walltime: a time such as", "cores: ",
                 "kind: unknown cluster 'slrum'"):  # fmt: skip
        assert part in said


@pytest.mark.parametrize("value", ["0 h", "00:00:00", "0-00:00:00", "9" * 400 + " d", "9" * 400 + "-00:00:00"])
def test_a_time_that_no_clock_shows_is_told(value: str) -> None:
    for key in ("walltime", "patience"):
        with pytest.raises(RecipeError, match=f"{key}: a time such as '4 h'"):
            load_site(None, ClusterParams(), **{key: value})


@pytest.mark.parametrize("value", ["9" * 400 + " GiB", "2 GiB each", "16 Gbit", "1,5 GiB", "2 ib", "-2 GiB", "lots"])
def test_a_size_that_no_machine_has_is_told(value: str) -> None:
    with pytest.raises(RecipeError, match="memory: a size such as '2 GiB'"):
        load_site(None, ClusterParams(), memory=value)


@pytest.mark.parametrize(
    ("value", "wanted"),
    [("2 GiB", 2**31), ("1.5gib", 3 * 2**29), ("800 MB", 8 * 10**8), ("1048576", 2**20), ("2TB", 2 * 10**12)],
)
def test_sizes_in_the_words_of_people(value: str, wanted: int) -> None:
    assert load_site(None, ClusterParams(), memory=value).memory == wanted


def test_names_that_are_meant_to_be_are_taken() -> None:
    for section in (
        {"image": "localhost:5000/beam/crackdask:0.1.0-RC1"}, {"image": f"crackdask.sha256:{'0a' * 32}"},
        {"namespace": "beam-2"}, {"claim": "scans.2026"}, {"mount": "/data/Beam_2"}, {"kind": "tls://[::1]:8786"},
        {"dashboard": ":8787"}, {"walltime": "1 s"},
    ):  # fmt: skip
        assert load_site(None, ClusterParams(), **section)


def test_where_a_run_works_is_no_part_of_its_recipe(tiny: Tiny) -> None:
    bare = check(tiny.content)
    there = check(tiny.content | {"cluster": {"kind": "slurm", "account": "secret", "workers": 9}})
    assert there.cluster.account == "secret"
    assert there.as_dict() == bare.as_dict(), "what decides fingerprints and stands in the store"
    assert "secret" not in str(there.as_dict())


# ---------------------------------------------------------------- Kubernetes


def test_pods_speak_tls_with_the_certificates_of_their_secret(tmp_path: Path) -> None:
    kubernetes = pytest.importorskip("crackdask.cluster.kubernetes", reason="no dask-kubernetes")
    site = Site.model_validate({"image": "registry/crackdask:1", "namespace": "beam", "claim": "scans", "mount": "/d"})
    with in_files(tmp_path) as security:
        folder = Path(security.tls_ca_file).parent
        files = {path.name: path.read_text() for path in folder.glob("*.pem")}
        secret, cluster = kubernetes.resources("crackdask-x", 3, 2**31, site, files, str(folder))
        assert sorted(secret["data"]) == ["ca.pem", "cert.pem", "key.pem"]
        assert cluster["spec"]["worker"]["replicas"] == 3
        pods = {role: cluster["spec"][role]["spec"] for role in ("scheduler", "worker")}
        for pod in pods.values():
            assert pod["securityContext"]["runAsNonRoot"]
            assert pod["automountServiceAccountToken"] is False
            assert not pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"]
            assert pod["containers"][0]["securityContext"]["readOnlyRootFilesystem"]
            assert {"name": "tls", "secret": {"secretName": "crackdask-x", "defaultMode": 0o440}} in pod["volumes"]
        assert pods["worker"]["volumes"][-1]["persistentVolumeClaim"] == {"claimName": "scans"}
        credentials = [{"secretRef": {"name": "crackdask-s3", "optional": True}}]
        assert pods["worker"]["containers"][0]["envFrom"] == credentials
        assert "envFrom" not in pods["scheduler"]["containers"][0]
        # The same words, here: a scheduler and a worker that speak to each other and to a client with certificates.
        here = {"8786": "0", "$(DASK_WORKER_NAME)": "w"}
        words = {role: [here.get(w, w) for w in pod["containers"][0]["args"]] for role, pod in pods.items()}
        environment = os.environ | {e["name"]: e["value"] for e in pods["worker"]["containers"][0]["env"]}
        program = [sys.executable, "-m", "dask"]
        with subprocess.Popen(
            [*program, *words["scheduler"][1:], "--host", "127.0.0.1"], stderr=subprocess.PIPE, start_new_session=True
        ) as scheduler:
            assert scheduler.stderr
            address = next(line for line in scheduler.stderr if b"Scheduler at:" in line).split()[-1].decode()
            assert address.startswith("tls://")
            place = words["worker"].index("tls://crackdask-x-scheduler:8786")
            words["worker"][place] = address
            with subprocess.Popen(
                [*program, *words["worker"][1:], "--host", "127.0.0.1", "--local-directory", str(tmp_path)],
                env=environment, stderr=subprocess.DEVNULL, start_new_session=True,
            ) as worker, Client(address, security=security, timeout="20s", set_as_default=False) as client:  # fmt: skip
                client.wait_for_workers(1, timeout=60)
                assert client.submit(sum, [1, 2]).result(timeout=20) == 3
                [limits] = client.scheduler_info()["workers"].values()
                assert (limits["nthreads"], limits["memory_limit"]) == (1, 2**31)
                for process in (worker, scheduler):
                    os.killpg(process.pid, signal.SIGKILL)


def test_pods_without_an_image_or_a_cluster_are_told(tiny: Tiny, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kr8s", reason="no dask-kubernetes: pip install crackdask[kubernetes]")
    said = tiny.crackdask("run", tiny.recipe, "--store", tiny.store, "--cluster", "kubernetes")
    assert said.code == 2
    assert "pods need an image with crackdask" in said.err


def test_a_missing_package_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    for package, module, extra in (
        ("dask_jobqueue", "jobqueue", r"crackdask\[hpc\]"), ("kr8s", "kubernetes", r"crackdask\[kubernetes\]"),
    ):  # fmt: skip
        with monkeypatch.context() as patch:
            patch.setitem(sys.modules, package, None)
            for name in (module, f"{module}_internals"):
                patch.delitem(sys.modules, f"crackdask.cluster.{name}", raising=False)
            with pytest.raises(ClusterError, match=extra):
                __import__(f"crackdask.cluster.{module}")


def test_an_interrupt_stays_one() -> None:
    code = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "import crackdask.cluster.jobqueue as _; print(signal.getsignal(signal.SIGINT).__name__)"
    )
    said = subprocess.run([sys.executable, "-W", "ignore", "-c", code], capture_output=True, text=True, check=True)
    assert said.stdout.strip() == "default_int_handler", said.stderr
