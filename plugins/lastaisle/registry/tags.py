"""The tags of MLflow runs and versions that more than one module reads."""

RUN_KEY = "run_key"
KIND = "lastaisle.kind"
PLAN = "lastaisle.plan"
DIGEST = "lastaisle.digest"  # SHA-256 over the files of the packed model; see models.stored.digest_of
CONTRACT_VERSION = "lastaisle.contract_version"
EPSILON = "lastaisle.epsilon"  # of a training with noise: the epsilon of this training alone
DELTA = "lastaisle.delta"  # the delta of that epsilon
MECHANISM = "lastaisle.mechanism"  # JSON of what a training with noise released; see models.private.mechanism
NOT_PRIVATE = (
    "lastaisle.not_private"  # why a training with noise has no bound, such as its start's lack of noise
)
GIT_REVISION = "lastaisle.git_revision"
ALIASES_SET = "lastaisle.aliases_set"  # of the registered model: the last move whose aliases were all set
STATES_TOLD = "lastaisle.states_told"  # of the registered model: the last move that all descriptions tell
BASE = "lastaisle.online_base"  # of a version with online updates: the version that they change
# The tags of runs that the run list shows as columns, so their names are short.
DECISION = "decision"  # of the gate: promoted, refused, shadow or canary
VERSION = "version"
STATE_NOW = "state"  # where the version is now: champion, replaced by 9, rolled back, and so on
