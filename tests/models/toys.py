"""Artificial sessions for the tests of several models."""

import numpy as np

from models.data.sequences import SessionLog


def rings(n_sessions, seed, n_items=40, prefix=""):
    """Return sessions that walk around a ring of items, and sometimes go back to the item before."""
    generator = np.random.default_rng(seed)
    sessions = []
    for _ in range(n_sessions):
        place = int(generator.integers(n_items))
        session = [place]
        for _ in range(int(generator.integers(1, 6))):
            place = session[-2] if len(session) > 1 and generator.random() < 0.2 else (place + 1) % n_items
            session.append(place)
        sessions.append([f"{prefix}i{item}" for item in session])
    return SessionLog.from_lists(sessions)
