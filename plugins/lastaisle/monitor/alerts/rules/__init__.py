"""The rules: each looks at tables or at MLflow, and returns what is wrong now."""
