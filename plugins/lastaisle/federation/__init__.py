"""Federated training: silos with lakes of their own learn one model, and no row leaves a silo."""
