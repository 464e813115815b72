"""Kafka clusters: addresses, connections, and control messages."""
