"""The dashboard: pages that show how the shop's recommendations do, in Airflow and by itself."""
