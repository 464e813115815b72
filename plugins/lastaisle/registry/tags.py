"""The tags of MLflow runs and versions that more than one module reads."""

RUN_KEY = "run_key"
KIND = "lastaisle.kind"
PLAN = "lastaisle.plan"
DIGEST = "lastaisle.digest"  # SHA-256 over the files of the packed model; see models.stored.digest_of
CONTRACT_VERSION = "lastaisle.contract_version"
EPSILON = "lastaisle.epsilon"  # of a training with noise: the privacy budget that the model has spent
GIT_REVISION = "lastaisle.git_revision"
ALIASES_SET = "lastaisle.aliases_set"  # of the registered model: the last move whose aliases were all set
BASE = "lastaisle.online_base"  # of a version with online updates: the version that they change
