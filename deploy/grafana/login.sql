-- The login by which Grafana reads the market: an analyst, who can write nothing and sees nothing else. Safe to repeat.
\getenv password GRAFANA_DATABASE_PASSWORD
SELECT 'CREATE ROLE grafana LOGIN' WHERE NOT EXISTS (SELECT FROM pg_roles WHERE rolname = 'grafana') \gexec
ALTER ROLE grafana PASSWORD :'password';
ALTER ROLE grafana SET statement_timeout = '30s';
GRANT market_analyst TO grafana;
