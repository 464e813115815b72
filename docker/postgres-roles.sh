#!/bin/sh
# Give Airflow and MLflow a role, a password and a database each; neither role can open the other's database.
# PostgreSQL's image runs this once, on an empty volume. Run it again to set new passwords, or on a volume of an
# earlier version, whose tables then change their owner:
#   docker compose -f docker/compose.yaml exec postgres sh /docker-entrypoint-initdb.d/roles.sh
# Airflow and MLflow both keep a table alembic_version, so each needs a database of its own.
set -e

# psql reads the password from the environment, so that it stands in no command line.
as_superuser() {
    psql --no-psqlrc --quiet --tuples-only --set ON_ERROR_STOP=1 --username "$POSTGRES_USER" "$@"
}

give_role() {
    ROLE_PASSWORD=$2 as_superuser --dbname postgres --set role="$1" <<'SQL'
\getenv password ROLE_PASSWORD
SELECT format('CREATE ROLE %I', :'role') WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = :'role') \gexec
ALTER ROLE :"role" LOGIN NOSUPERUSER NOCREATEDB NOCREATEROLE PASSWORD :'password';
SELECT format('CREATE DATABASE %I OWNER %I', :'role', :'role')
    WHERE NOT EXISTS (SELECT FROM pg_database WHERE datname = :'role') \gexec
ALTER DATABASE :"role" OWNER TO :"role";
REVOKE ALL ON DATABASE :"role", postgres FROM PUBLIC;
SQL
    as_superuser --dbname "$1" --set role="$1" <<'SQL'
ALTER SCHEMA public OWNER TO :"role";
SELECT format('ALTER TABLE %I.%I OWNER TO %I', schemaname, tablename, :'role')
    FROM pg_tables WHERE schemaname = 'public' AND tableowner <> :'role' \gexec
SELECT format('ALTER TYPE %I.%I OWNER TO %I', nspname, typname, :'role')
    FROM pg_type JOIN pg_namespace ON pg_namespace.oid = typnamespace
    WHERE nspname = 'public' AND typtype = 'e' AND typowner <> :'role'::regrole \gexec
SQL
}

give_role airflow "${AIRFLOW_DB_PASSWORD:?}"
give_role mlflow "${MLFLOW_DB_PASSWORD:?}"
