"""What the pods of single tasks have in addition to docker/kubernetes/pod_template.yaml."""

from __future__ import annotations

from typing import Any, Final

from airflow.configuration import conf

PSEUDONYM_SECRET: Final = "lastaisle-pseudonyms"


def with_pseudonym_key() -> dict[str, Any]:
    """Return the `executor_config` of a task that makes pseudonyms.

    Under KubernetesExecutor the pod of this task has one more Secret, which holds LASTAISLE_PSEUDONYM_KEY.
    The pods of all other tasks do not have it. Other executors give all tasks the same environment.
    """
    if "Kubernetes" not in conf.get("core", "executor"):
        return {}
    from kubernetes.client import models as k8s  # only this executor needs the library

    secret = k8s.V1EnvFromSource(secret_ref=k8s.V1SecretEnvSource(name=PSEUDONYM_SECRET))
    container = k8s.V1Container(name="base", env_from=[secret])
    return {"pod_override": k8s.V1Pod(spec=k8s.V1PodSpec(containers=[container]))}
