"""The Kubernetes manifests: valid for the operator and for Kubernetes, without privileges, and of one piece."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import dask
import pytest
import typer.main
import yaml
from distributed.cli import dask_scheduler, dask_worker
from distributed.security import Security

from crackdask.cli import app
from crackdask.cluster.kubernetes import resources
from crackdask.recipe.site import Site
from tests.support.manifests import FILES, VERSIONS, Object, documents, errors, everything, misspelt, named, pods

CLUSTER = named("cluster.yaml", "DaskCluster")
JOB = named("job.yaml", "DaskJob")
RUN, WATCH = (named(f"{name}.yaml", "Job", f"crackdask-{name}") for name in ("run", "watch"))
POLICY = named("network.yaml", "NetworkPolicy")["spec"]
#: Every pod that the manifests lead to.
PODS = [
    pytest.param(pod, id=f"{made['kind']}-{name}") for made in (CLUSTER, JOB, RUN, WATCH) for name, pod in pods(made)
]
#: The secret is made by a command of the README, never by a file.
SECRET = "crackdask-tls"


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_valid(path: Path) -> None:
    found = documents(path)
    assert found
    assert [complaint for made in found for complaint in errors(made)] == []


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.name)
def test_a_misspelt_field_is_refused(path: Path) -> None:
    """Whatever field it is: so the validation sees all of them, and none of ours is silently dropped."""
    for made in documents(path):
        broken = list(misspelt(made))
        assert len(broken) > 4
        assert [place for place, other in broken if not errors(other, VERSIONS[-1:])] == []


@pytest.mark.parametrize(
    ("made", "place", "value"),
    [
        (CLUSTER, "spec.worker.replicas", "eight"),
        (CLUSTER, "spec.scheduler.spec.containers.0.args", "dask scheduler"),
        (CLUSTER, "spec.worker.spec.containers.0.resources.limits.memory", {"GiB": 4}),
        (CLUSTER, "spec.scheduler.service.ports.0.port", "8786"),
        (CLUSTER, "spec.worker", None),
        (CLUSTER, "kind", "DaskClusters"),
        (CLUSTER, "metadata.labels", ["crackdask"]),
        (JOB, "spec.job.spec.containers", None),
        (JOB, "spec.cluster.spec.scheduler.spec.securityContext.runAsNonRoot", "yes"),
        (RUN, "spec.template.spec.containers.0.name", None),
        (RUN, "spec.podFailurePolicy.rules.0.onExitCodes.values", ["2"]),
        (named("storage.yaml", "PersistentVolumeClaim", "crackdask-data"), "spec.accessModes", "ReadWriteMany"),
        (named("network.yaml", "NetworkPolicy"), "spec.ingress.0.from.0.podSelector.matchLabels", ["crackdask"]),
        (named("access.yaml", "Role", "crackdask-submit"), "rules.0.verbs", "get"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_refused(made: Object, place: str, value: Any) -> None:
    broken = copy.deepcopy(made)
    node: Any = broken
    *way, last = (int(key) if key.isdigit() else key for key in place.split("."))
    for key in way:
        node = node[key]
    assert last in node
    if value is None:
        del node[last]
    else:
        node[last] = value
    assert errors(made) == []
    assert errors(broken) != []


#: What `crackdask run --cluster kubernetes` asks for.
SITE = Site(image="registry.example.org/crackdask:0.1.0", namespace="crackdask", claim="crackdask-data", mount="/data")
OWN_SECRET, OWN_CLUSTER = resources("crackdask-own", 3, 2**31, SITE, {"ca.pem": "Zm9v"})


def test_what_a_run_asks_for_by_itself_is_valid() -> None:
    assert errors(OWN_SECRET) == []
    assert errors(OWN_CLUSTER) == []
    (_, scheduler), _ = pods(OWN_CLUSTER)
    (port,) = OWN_CLUSTER["spec"]["scheduler"]["service"]["ports"]
    listening = {found["name"]: found["containerPort"] for found in scheduler["spec"]["containers"][0]["ports"]}
    assert listening[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("made", [CLUSTER, JOB, OWN_CLUSTER], ids=lambda made: made["metadata"]["name"] + made["kind"])
def test_what_the_operator_makes_of_it_is_valid(made: Object) -> None:
    for _, pod in pods(made):
        core = {"apiVersion": "v1", "kind": "Pod", "metadata": pod["metadata"], "spec": pod["spec"]}
        assert errors(core) == []


def test_the_job_brings_the_cluster_of_the_cluster() -> None:
    assert JOB["spec"]["cluster"]["spec"] == CLUSTER["spec"]
    assert JOB["metadata"] == CLUSTER["metadata"]
    job, run = JOB["spec"]["job"]["spec"], RUN["spec"]["template"]["spec"]
    assert job == run


# ------------------------------------------------------------ without privileges


def test_the_run_that_waits_is_the_run_but_for_that() -> None:
    """Whatever is changed in one of the files is to be changed in the other."""
    waits, runs = copy.deepcopy(WATCH), copy.deepcopy(RUN)
    for made in (waits, runs):
        del made["metadata"]["name"], made["spec"]["backoffLimit"]
        del made["spec"]["template"]["spec"]["containers"][0]["args"]
    assert waits == runs
    (run,), (watch,) = (made["spec"]["template"]["spec"]["containers"] for made in (RUN, WATCH))
    assert watch["args"] == [*run["args"], "--watch", "--settle=90"]
    assert WATCH["spec"]["backoffLimit"] >= 1000


@pytest.mark.parametrize("pod", PODS)
def test_no_privileges(pod: Object) -> None:
    """The pod keeps to what Kubernetes calls the restricted profile, and to more."""
    spec = pod["spec"]
    person = spec["securityContext"]
    assert person["runAsNonRoot"] is True
    assert person["runAsUser"] == person["runAsGroup"] == person["fsGroup"] == 10001
    assert person["seccompProfile"] == {"type": "RuntimeDefault"}
    assert not {"hostNetwork", "hostPID", "hostIPC"} & spec.keys()
    assert spec["serviceAccountName"] == "crackdask"
    assert spec["automountServiceAccountToken"] is False
    assert {kind for volume in spec["volumes"] for kind in volume if kind != "name"} <= {
        "configMap", "emptyDir", "persistentVolumeClaim", "secret",
    }  # fmt: skip
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert container["securityContext"] == {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        }
        asked = container["resources"]
        assert asked["requests"] == asked["limits"]  # the last to be evicted
        assert {"cpu", "memory", "ephemeral-storage"} <= asked["limits"].keys()
        assert "/tmp" in {mount["mountPath"] for mount in container["volumeMounts"]}
        assert not any("hostPort" in port for port in container.get("ports", []))


def test_the_namespace_refuses_privileges() -> None:
    labels = named("namespace.yaml", "Namespace")["metadata"]["labels"]
    assert labels["pod-security.kubernetes.io/enforce"] == "restricted"


def test_least_rights() -> None:
    """The account of the pods is bound to nothing; who submits reads no secret and writes no pod, role or policy."""
    found = documents(FILES[0].with_name("access.yaml"))
    bound = [subject["name"] for made in found if made["kind"] == "RoleBinding" for subject in made["subjects"]]
    assert bound == ["crackdask-submit"]
    assert {made["kind"] for made in found} == {"ServiceAccount", "Role", "RoleBinding"}  # nothing of the whole cluster
    rules = named("access.yaml", "Role", "crackdask-submit")["rules"]
    assert not any("*" in rule[key] for rule in rules for key in ("apiGroups", "resources", "verbs"))
    written = {
        what
        for rule in rules
        for what in rule["resources"]
        if {"create", "patch", "update", "delete"} & set(rule["verbs"])
    }
    assert written == {"daskclusters", "daskjobs", "jobs", "secrets", "pods/portforward", "pods/exec"}
    (about_secrets,) = (rule for rule in rules if "secrets" in rule["resources"])
    assert set(about_secrets["verbs"]) == {"create", "delete"}


# ------------------------------------------------------------ of one piece


@pytest.mark.parametrize("pod", PODS)
def test_what_a_pod_mounts_is_there(pod: Object) -> None:
    spec = pod["spec"]
    there = {(made["kind"], made["metadata"]["name"]) for made in everything()} | {("Secret", SECRET)}
    wanted = {("ServiceAccount", spec["serviceAccountName"])}
    for volume in spec["volumes"]:
        if "secret" in volume:
            wanted.add(("Secret", volume["secret"]["secretName"]))
            assert volume["secret"]["defaultMode"] == 0o440  # root's and the group's
        if "configMap" in volume:
            wanted.add(("ConfigMap", volume["configMap"]["name"]))
        if "persistentVolumeClaim" in volume:
            wanted.add(("PersistentVolumeClaim", volume["persistentVolumeClaim"]["claimName"]))
    assert wanted <= there
    assert len(wanted) >= 3
    for container in [*spec["containers"], *spec.get("initContainers", [])]:
        assert {mount["name"] for mount in container["volumeMounts"]} == {volume["name"] for volume in spec["volumes"]}


def test_one_image_for_everybody() -> None:
    every = [
        container for made in (CLUSTER, JOB, RUN) for _, pod in pods(made) for container in pod["spec"]["containers"]
    ]
    assert len({container["image"] for container in every}) == 1
    assert all("command" not in container for container in every)  # the image's own: tini


def test_everything_is_in_the_namespace_that_refuses_privileges() -> None:
    spaces = {made["metadata"].get("namespace") for made in everything() if made["kind"] != "Namespace"}
    assert spaces == {named("namespace.yaml", "Namespace")["metadata"]["name"]}


def test_nothing_secret_is_in_the_files() -> None:
    assert "Secret" not in {made["kind"] for made in everything()}
    assert not any("PRIVATE KEY" in path.read_text() for path in FILES)


@pytest.mark.parametrize("pod", PODS)
def test_the_policy_is_about_every_pod(pod: Object) -> None:
    assert POLICY["podSelector"]["matchLabels"].items() <= pod["metadata"]["labels"].items()


def test_only_the_clusters_own_pods_come_in() -> None:
    for made in documents(FILES[0].with_name("object-storage.yaml")):  # policies add up: this one must only let out
        assert made["spec"]["policyTypes"] == ["Egress"]
        assert "ingress" not in made["spec"]
    assert POLICY["policyTypes"] == ["Ingress", "Egress"]
    (inward,) = POLICY["ingress"]
    assert inward["from"] == [{"podSelector": POLICY["podSelector"]}]
    listening = {
        (port["protocol"], port["containerPort"])
        for _, pod in pods(CLUSTER)
        for container in pod["spec"]["containers"]
        for port in container["ports"]
    }
    assert {(port["protocol"], port["port"]) for port in inward["ports"]} == listening
    own, names = POLICY["egress"]
    assert own == {"to": inward["from"], "ports": inward["ports"]}
    assert {port["port"] for port in names["ports"]} == {53}


def test_clusters_of_other_names_are_closed_too() -> None:
    """The two policies are about different pods, and this one lets in pods of crackdask only."""
    spec = named("network.yaml", "NetworkPolicy", "crackdask-runs")["spec"]
    ours = {"app.kubernetes.io/name": "crackdask"}
    others = {"key": "dask.org/cluster-name", "operator": "NotIn", "values": [CLUSTER["metadata"]["name"]]}
    assert spec["podSelector"] == {"matchLabels": ours, "matchExpressions": [others]}
    assert spec["ingress"] == [{"from": [{"podSelector": {"matchLabels": ours}}]}]
    assert "Ingress" in spec["policyTypes"]


def test_everyone_finds_the_scheduler() -> None:
    (scheduler_name, scheduler), (_, worker) = pods(CLUSTER)
    service = CLUSTER["spec"]["scheduler"]["service"]
    assert service["type"] == "ClusterIP"
    assert service["selector"].items() <= scheduler["metadata"]["labels"].items()
    assert not service["selector"].items() <= worker["metadata"]["labels"].items()
    (port,) = service["ports"]
    address = f"tls://{scheduler_name}:{port['port']}"
    (runner,) = JOB["spec"]["job"]["spec"]["containers"]
    for container in [worker["spec"]["containers"][0], runner]:
        # The operator adds tcp:// where there is none.
        found = [entry["value"] for entry in container["env"] if entry["name"] == "DASK_SCHEDULER_ADDRESS"]
        assert found == [address]
    assert f"--cluster={address}" in runner["args"]
    listening = {found["name"]: found["containerPort"] for found in scheduler["spec"]["containers"][0]["ports"]}
    assert listening[port["targetPort"]] == port["port"]


@pytest.mark.parametrize("pod", PODS)
def test_commands_have_these_options(pod: Object) -> None:
    """Parsed by the commands themselves, which refuse an option that they do not have."""
    for container in pod["spec"]["containers"]:
        program, command, *words = container["args"]
        if program == "dask":
            found = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}[command]
            context = found.make_context(command, list(words))
            assert context.params["protocol"] == "tls"
            assert context.params["dashboard_address"].startswith("127.0.0.1:")
        else:
            group: Any = typer.main.get_command(app)
            context = group.get_command(None, command).make_context(command, list(words))
            assert str(context.params["store"]).startswith("/data/")


def test_settings_ask_for_certificates() -> None:
    settings = yaml.safe_load(named("settings.yaml", "ConfigMap", "crackdask-dask")["data"]["crackdask.yaml"])

    def known(found: Object, defaults: Object, place: str = "") -> None:
        for key, value in found.items():
            assert key in defaults, f"dask knows no setting {place}{key}"
            if isinstance(value, dict):
                known(value, defaults[key], f"{place}{key}.")

    known(settings, dask.config.config)
    with dask.config.set(dask.config.merge(dask.config.config, settings)):
        security = Security()
        assert security.require_encryption is True
        for role in ("scheduler", "worker", "client"):
            found = security.get_tls_config_for_role(role)
            assert {found["ca_file"], found["cert"], found["key"]} == {
                f"/etc/crackdask/tls/{name}" for name in ("ca.crt", "tls.crt", "tls.key")
            }
