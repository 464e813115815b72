"""Delivery: messages reach the addresses of people and services, each at least once."""
