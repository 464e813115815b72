"""What the pods of single tasks have in addition to docker/kubernetes/pod_template.yaml."""

from __future__ import annotations

from typing import Any, Final

from airflow.configuration import conf

PSEUDONYM_SECRET: Final = "lastaisle-pseudonyms"
REQUESTS_CLAIM: Final = "lastaisle-requests"
REQUESTS_PATH: Final = "/requests"


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


def with_requests(*, pseudonym_key: bool = False) -> dict[str, Any]:
    """Return the `executor_config` of a task that reads the requests of shoppers.

    Under KubernetesExecutor the pod of this task has one more volume, which holds LASTAISLE_REQUESTS. The
    pods of all other tasks do not have it. With other executors the tasks share a folder.

    Args:
        pseudonym_key: whether the pod also holds the pseudonym key.
    """
    if "Kubernetes" not in conf.get("core", "executor"):
        return {}
    from kubernetes.client import models as k8s  # only this executor needs the library

    override = with_pseudonym_key()["pod_override"] if pseudonym_key else None
    spec = override.spec if override else k8s.V1PodSpec(containers=[k8s.V1Container(name="base")])
    claim = k8s.V1PersistentVolumeClaimVolumeSource(claim_name=REQUESTS_CLAIM)
    spec.volumes = [k8s.V1Volume(name="requests", persistent_volume_claim=claim)]
    spec.containers[0].volume_mounts = [k8s.V1VolumeMount(name="requests", mount_path=REQUESTS_PATH)]
    return {"pod_override": k8s.V1Pod(spec=spec)}
