#!/bin/sh
# Create the two roles of a new database: the owner of the tables, for `migrate`, and the role of the site, which can only
# read and write rows. The image of PostgreSQL runs this once, when the volume is empty.
set -eu
secrets="${SECRETS:-/run/secrets}"
OWNER_PASSWORD="$(cat "$secrets/db_owner_password")" SITE_PASSWORD="$(cat "$secrets/db_site_password")" \
    psql --username="${POSTGRES_USER:-postgres}" --dbname="$POSTGRES_DB" --quiet --no-psqlrc --set=ON_ERROR_STOP=1 <<'SQL'
\getenv owner_password OWNER_PASSWORD
\getenv site_password SITE_PASSWORD
BEGIN;
CREATE ROLE rebalancer_owner LOGIN PASSWORD :'owner_password';
CREATE ROLE rebalancer LOGIN PASSWORD :'site_password';
ALTER DATABASE :"DBNAME" OWNER TO rebalancer_owner;
REVOKE ALL ON DATABASE :"DBNAME" FROM PUBLIC;
GRANT CONNECT ON DATABASE :"DBNAME" TO rebalancer;
ALTER SCHEMA public OWNER TO rebalancer_owner;
REVOKE ALL ON SCHEMA public FROM PUBLIC;
GRANT USAGE ON SCHEMA public TO rebalancer;
-- For all tables that migrations and restores create, in any schema: a restore replaces the schema.
ALTER DEFAULT PRIVILEGES FOR ROLE rebalancer_owner GRANT SELECT, INSERT, UPDATE, DELETE ON TABLES TO rebalancer;
ALTER DEFAULT PRIVILEGES FOR ROLE rebalancer_owner GRANT USAGE, SELECT ON SEQUENCES TO rebalancer;
COMMIT;
SQL
