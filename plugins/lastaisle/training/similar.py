"""Clusters of abandoned sessions, and the other sessions that are similar to each cluster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import MaxNLocator

from lastaisle.registry.plots import TEXT, new_axes

if TYPE_CHECKING:
    from matplotlib.figure import Figure
    from numpy.typing import NDArray

    from models.data.sequences import SessionLog

TOPICS = 64  # length of the vector that stands for a session's items
MOST_CLUSTERS = 12
SIMILAR_PER_ABANDONED = 5  # at most, on the mean
NAMED_ITEMS = 5  # of a cluster, in its description
LONGEST_NAME = 40  # characters of an item in a plot


@dataclass(frozen=True)
class Clusters:
    """Abandoned sessions by their items, and other sessions like them.

    Attributes:
        of_abandoned: int32 [n_abandoned], the cluster of each abandoned session, in the log's order.
        similar: int64 [n_similar], the places of sessions that are similar to a cluster, the most similar
            first.
        of_similar: int32 [n_similar], the cluster of each similar session.
    """

    of_abandoned: NDArray[np.int32]
    similar: NDArray[np.int64]
    of_similar: NDArray[np.int32]

    def __len__(self) -> int:
        """Return the number of clusters."""
        return int(self.of_abandoned.max(initial=-1)) + 1


def cluster(log: SessionLog, abandoned: NDArray[np.bool_], seed: int) -> Clusters:
    """Cluster the abandoned sessions, and find the other sessions that are similar to a cluster.

    Sessions become vectors by latent semantic analysis of their items (Deerwester et al. 1990: TF-IDF, then a
    truncated SVD). So two sessions without a common item are alike if other sessions have their items
    together. The vectors are clustered by k-means. The champion is not used, so any architecture can be
    refreshed. A session that was not abandoned belongs to the cluster of the nearest centre, if it is at
    least as near as three in four of the cluster's own sessions.

    Args:
        log: sessions; the vectors are learned on all of them.
        abandoned: bool [n_sessions], the sessions that are clustered.
        seed: of SVD and k-means.
    """
    from sklearn.cluster import KMeans  # here: it takes seconds, and only a refresh needs it

    vectors = _vectors(log, seed)
    own = vectors[abandoned]
    n_clusters = int(np.clip(round((len(own) / 2) ** 0.5), 1, MOST_CLUSTERS))
    n_clusters = min(n_clusters, len(np.unique(own.round(6), axis=0)))
    labels = KMeans(n_clusters, n_init=4, random_state=seed).fit_predict(own)
    centres = np.stack([own[labels == label].mean(axis=0) for label in range(n_clusters)])
    centres /= np.maximum(np.linalg.norm(centres, axis=1, keepdims=True), 1e-12)
    inside = (own * centres[labels]).sum(axis=1)
    reach = np.array([np.quantile(inside[labels == label], 0.25) for label in range(n_clusters)])
    others = np.flatnonzero(~abandoned)
    cosines = vectors[others] @ centres.T
    nearest = cosines.argmax(axis=1)
    alike = cosines[np.arange(len(others)), nearest]
    near = np.flatnonzero(alike >= np.maximum(reach[nearest], 1e-6))
    near = near[np.argsort(-alike[near], kind="stable")][: SIMILAR_PER_ABANDONED * len(own)]
    return Clusters(labels.astype(np.int32), others[near], nearest[near].astype(np.int32))


def _vectors(log: SessionLog, seed: int) -> NDArray[np.float64]:
    """Return a vector of length 1 for each session, [n_sessions, at most TOPICS]."""
    from scipy.sparse import csr_matrix  # here, as scikit-learn above
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


def describe_clusters(
    log: SessionLog, abandoned: NDArray[np.bool_], clusters: Clusters
) -> list[dict[str, Any]]:
    """Return each cluster's numbers of sessions, and the items that its abandoned sessions viewed most."""
    rows = np.flatnonzero(abandoned)
    descriptions = []
    for cluster_number in range(len(clusters)):
        members = rows[clusters.of_abandoned == cluster_number]
        viewed = log.select(members)
        counts = np.bincount(viewed.items, minlength=len(viewed.catalogue))
        top = np.argsort(-counts, kind="stable")[:NAMED_ITEMS]
        descriptions.append(
            {
                "abandoned": len(members),
                "similar": int((clusters.of_similar == cluster_number).sum()),
                "items": [str(viewed.catalogue[item]) for item in top if counts[item]],
            }
        )
    return descriptions


def draw_clusters(clusters: list[dict[str, Any]]) -> Figure:
    """Draw the numbers of each cluster's sessions as bars; the item seen most names the cluster."""
    title = "Clusters, by the item most seen"
    figure, axes = new_axes(1.6 + 0.45 * len(clusters), title, x_label="sessions")
    left = [0] * len(clusters)
    for name, colour in (("abandoned", "#b2182b"), ("similar", "#1b6ca8")):
        values = [cluster[name] for cluster in clusters]
        axes.barh(range(len(clusters)), values, left=left, color=colour, label=name)
        left = [start + value for start, value in zip(left, values, strict=True)]
    axes.set_yticks(range(len(clusters)), [cluster["items"][0][:LONGEST_NAME] for cluster in clusters])
    axes.invert_yaxis()
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    figure.legend(loc="outside lower center", ncols=2, fontsize=TEXT, frameon=False)
    return figure
