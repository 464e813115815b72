"""Federated training: silos learn on their own sessions, and only updates of weights leave them."""
