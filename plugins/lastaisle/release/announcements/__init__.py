"""Announcements: signed webhooks that tell services of releases and of experiments that end."""
