"""The dashboard inside Airflow: who may see it, and how it moves the champion."""
