"""Kubernetes manifests held against schemas: the dask operator's own, and those of Kubernetes.

The operator's wheel carries the definitions of its resources as the API server gets them. An API server drops fields
that a definition does not name; here they are errors, as they would be with `kubectl apply --validate=strict`.
"""

from __future__ import annotations

import copy
import importlib.resources
import json
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema
import kubernetes_validate
import kubernetes_validate.utils
import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
FILES = sorted((DEPLOY / "kubernetes").glob("*.yaml"))
#: podFailurePolicy is stable since 1.31; the newest is what the package knows.
VERSIONS = ("1.31", kubernetes_validate.latest_version())

Object = dict[str, Any]

# It reads two megabytes of schemas for each object that it looks at.
kubernetes_validate.utils.schema_contents = cache(kubernetes_validate.utils.schema_contents)


def documents(path: Path) -> list[Object]:
    """Return the objects of a file."""
    return [found for found in yaml.safe_load_all(path.read_text()) if found is not None]


def named(file: str, kind: str, name: str = "crackdask") -> Object:
    """Return one object of a file."""
    (found,) = (
        made
        for made in documents(DEPLOY / "kubernetes" / file)
        if (made["kind"], made["metadata"]["name"]) == (kind, name)
    )
    return found


def everything() -> list[Object]:
    """Return the objects of all files."""
    return [made for path in FILES for made in documents(path)]


def errors(made: Object, versions: Sequence[str] = VERSIONS) -> list[str]:
    """Return what is wrong with an object, one line for each complaint."""
    schema = _definitions().get((made.get("apiVersion", ""), made.get("kind", "")))
    if schema is None:
        return [complaint for version in versions for complaint in _core_errors(made, version)]
    found = [f"{error.json_path}: {error.message}" for error in schema.iter_errors(made)]
    return found + _metadata_errors(json.dumps(made.get("metadata")))


def _core_errors(made: Object, version: str) -> list[str]:
    try:
        kubernetes_validate.validate(made, version, strict=True)
    except kubernetes_validate.ValidationError as error:
        return [f"{version}: {'.'.join(map(str, error.path))}: {error.message}"]
    except (kubernetes_validate.SchemaNotFoundError, KeyError) as error:
        return [f"{version}: no such kind: {error!r}"]
    return []


@cache
def _metadata_errors(metadata: str) -> list[str]:
    """Return what is wrong with the metadata of one of the operator's kinds, whose schemas leave it out."""
    return _core_errors({"apiVersion": "v1", "kind": "ConfigMap", "metadata": json.loads(metadata)}, VERSIONS[-1])


@cache
def _definitions() -> dict[tuple[str, str], jsonschema.Draft202012Validator]:
    """Return the operator's schemas by apiVersion and kind."""
    folder = importlib.resources.files("dask_kubernetes") / "operator/deployment/helm/dask-kubernetes-operator/crds"
    found = {}
    for file in folder.iterdir():
        for crd in filter(None, yaml.safe_load_all(file.read_text())):
            for version in crd["spec"]["versions"]:
                schema = _strict(version["schema"]["openAPIV3Schema"])
                schema["properties"] |= {"apiVersion": {}, "kind": {}, "metadata": {}}
                key = (f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])
                found[key] = jsonschema.Draft202012Validator(schema)
    return found


def _strict(schema: Any) -> Any:
    """Turn a schema of Kubernetes into JSON schema that refuses fields it does not name."""
    if not isinstance(schema, dict):
        return schema
    made = dict(schema)
    for key in ("items", "additionalProperties"):
        if key in made:
            made[key] = _strict(made[key])
    if "properties" in made:
        made["properties"] = {key: _strict(value) for key, value in made["properties"].items()}
        if not made.get("x-kubernetes-preserve-unknown-fields"):
            made.setdefault("additionalProperties", False)
    if made.pop("x-kubernetes-int-or-string", False):
        made.pop("anyOf", None)
        made["type"] = ["integer", "string"]
    if made.get("nullable") and isinstance(made.get("type"), str):
        made["type"] = [made["type"], "null"]
    return made


#: Below these, keys are the writer's own: any name is right.
_FREE = {"labels", "annotations", "matchLabels", "requests", "limits", "data", "selector"}


def misspelt(made: Object) -> Iterator[tuple[str, Object]]:
    """Yield an object once for each of its fields with that field's name misspelt, and where."""
    for place in list(_fields(made)):
        broken = copy.deepcopy(made)
        node: Any = broken
        for key in place[:-1]:
            node = node[key]
        node[f"{place[-1]}x"] = node.pop(place[-1])
        yield ".".join(map(str, place)), broken


def _fields(node: Any, place: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield (*place, key)
            if key not in _FREE:
                yield from _fields(value, (*place, key))
    elif isinstance(node, list):
        for number, value in enumerate(node):
            yield from _fields(value, (*place, number))


def pods(made: Object) -> list[tuple[str, Object]]:
    """Return the pods that an object leads to, with their names: as it says, or as the operator builds them."""
    from dask_kubernetes.operator.controller import controller as operator

    kind, spec, name = made["kind"], made.get("spec", {}), made["metadata"]["name"]
    labels = made["metadata"].get("labels", {})
    if kind == "Job":
        return [(name, spec["template"])]
    if kind == "DaskCluster":
        scheduler = operator.build_scheduler_deployment_spec(name, spec["scheduler"]["spec"], {}, labels)
        worker = operator.build_worker_deployment_spec(
            f"{name}-default", "crackdask", name, "0", spec["worker"]["spec"], {}, labels
        )
        return [(role["metadata"]["name"], role["spec"]["template"]) for role in (scheduler, worker)]
    if kind == "DaskJob":
        cluster = {"kind": "DaskCluster", "metadata": made["metadata"], "spec": spec["cluster"]["spec"]}
        runner = operator.build_job_pod_spec(name, name, "crackdask", spec["job"]["spec"], {}, labels)
        return [*pods(cluster), (runner["metadata"]["name"], runner)]
    return []
