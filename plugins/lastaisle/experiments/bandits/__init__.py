"""Bandits: arms that are drawn list by list, and shown more often the more they earn."""
