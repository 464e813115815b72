"""Environments of Python for programs whose libraries cannot stand beside Airflow; made on first use.

The folder environments/ of the project has one folder for each: `requirements.in` with what we chose, and
`requirements.txt`, its lock with hashes, which `make lock` writes.
"""
