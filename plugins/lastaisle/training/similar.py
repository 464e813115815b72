"""Abandoned checkouts in clusters, and the sessions that are like those of each."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from models.data.sequences import SessionLog

TOPICS = 64  # numbers that a session's items are boiled down to
MOST_CLUSTERS = 12
A_SESSION = 5  # similar sessions that an abandoned one may bring at most, on the mean
NAMED_ITEMS = 5  # of a cluster, in its description


@dataclass(frozen=True)
class Clusters:
    """Abandoned sessions by what they looked at, and others like them.

    Attributes:
        of_abandoned: int32 [n_abandoned], the cluster of each abandoned session, in the log's order.
        similar: int64 [n_similar], the sessions that are like one of the clusters, the most alike first.
        of_similar: int32 [n_similar], which.
    """

    of_abandoned: NDArray[np.int32]
    similar: NDArray[np.int64]
    of_similar: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of clusters."""
        return int(self.of_abandoned.max(initial=-1)) + 1


def cluster(log: SessionLog, abandoned: NDArray[np.bool_], seed: int) -> Clusters:
    """Cluster the abandoned sessions, and find the others that are like those of a cluster.

    Sessions are compared by latent semantic analysis of their items (Deerwester et al. 1990: TF-IDF, then a
    truncated SVD), so that two which share no item, but items that others have together, are alike; and by
    k-means. This asks nothing of the champion, so any architecture can be refreshed. Another session belongs
    to the cluster of the nearest centre, if it is as near to it as three in four of the cluster's own.

    Args:
        log: sessions; what they have in common with each other is learned on all.
        abandoned: bool [n_sessions], those that are clustered.
        seed: of SVD and k-means.
    """
    import numpy as np
    from sklearn.cluster import KMeans

    vectors = _vectors(log, seed)
    own = vectors[abandoned]
    wanted = int(np.clip(round((len(own) / 2) ** 0.5), 1, MOST_CLUSTERS))
    wanted = min(wanted, len(np.unique(own.round(6), axis=0)))
    labels = KMeans(wanted, n_init=4, random_state=seed).fit_predict(own)
    centres = np.stack([own[labels == each].mean(axis=0) for each in range(wanted)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    inside = (own * centres[labels]).sum(axis=1)
    reach = np.array([np.quantile(inside[labels == each], 0.25) for each in range(wanted)])
    others = np.flatnonzero(~abandoned)
    cosines = vectors[others] @ centres.T
    nearest = cosines.argmax(axis=1)
    alike = cosines[np.arange(len(others)), nearest]
    near = np.flatnonzero(alike >= np.maximum(reach[nearest], 1e-6))
    near = near[np.argsort(-alike[near], kind="stable")][: A_SESSION * len(own)]
    return Clusters(labels.astype(np.int32), others[near], nearest[near].astype(np.int32))


def _vectors(log: SessionLog, seed: int) -> NDArray[np.float64]:
    """Return a vector of length 1 for each session, [n_sessions, at most TOPICS]."""
    import numpy as np
    from scipy.sparse import csr_matrix
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfTransformer
    from sklearn.preprocessing import normalize

    shape = (len(log), len(log.catalogue))
    counts = csr_matrix((np.ones(log.n_events), (log.session_of_event, log.items)), shape)
    weighed = TfidfTransformer(sublinear_tf=True).fit_transform(counts)
    topics = min(TOPICS, min(shape) - 1)
    if topics < 1:
        return np.asarray(weighed.toarray(), np.float64)
    reduced = TruncatedSVD(topics, random_state=seed).fit_transform(weighed)
    return np.asarray(normalize(reduced), np.float64)


def described(log: SessionLog, abandoned: NDArray[np.bool_], clusters: Clusters) -> list[dict[str, Any]]:
    """Say of each cluster how many sessions it has, and which items they saw most."""
    import numpy as np

    rows = np.flatnonzero(abandoned)
    found = []
    for each in range(len(clusters)):
        members = rows[clusters.of_abandoned == each]
        seen = log.select(members)
        counts = np.bincount(seen.items, minlength=len(seen.catalogue))
        top = np.argsort(-counts, kind="stable")[:NAMED_ITEMS]
        found.append(
            {
                "abandoned": len(members),
                "similar": int((clusters.of_similar == each).sum()),
                "items": [str(seen.catalogue[item]) for item in top if counts[item]],
            }
        )
    return found


def draw(clusters: list[dict[str, Any]]) -> Any:
    """Draw each cluster's sessions as bars, named by the item that they saw most."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 1.2 + 0.35 * len(clusters)), dpi=80, layout="tight")
    axes = figure.subplots()
    left = [0] * len(clusters)
    for name, colour in (("abandoned", "#b2182b"), ("similar", "#1b6ca8")):
        values = [each[name] for each in clusters]
        axes.barh(range(len(clusters)), values, left=left, color=colour, label=name)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(clusters)), [each["items"][0] for each in clusters])
    axes.invert_yaxis()
    axes.set(xlabel="sessions", title="Clusters, by the item most seen")
    axes.legend()
    return figure
