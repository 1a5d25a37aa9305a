# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/ingest
COPY pyproject.toml README.md LICENSE constraints.txt ./
COPY ingest ingest
COPY sql sql
RUN --mount=type=cache,target=/root/.cache/pip \
    /opt/ingest/bin/pip install --disable-pip-version-check --constraint constraints.txt .

FROM python:3.13-slim
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="ingest" \
      org.opencontainers.image.description="A complete, exact, queryable record of crypto markets in TimescaleDB" \
      org.opencontainers.image.licenses="MIT" \
      org.opencontainers.image.version="$VERSION" \
      org.opencontainers.image.revision="$REVISION"
# The number is part of what is promised: volumes and secret files are given to it.
RUN groupadd --system --gid 10001 ingest \
 && useradd --system --uid 10001 --gid ingest --home-dir /var/lib/ingest --create-home --shell /usr/sbin/nologin ingest
COPY --from=build /opt/ingest /opt/ingest
# Settings: mount /etc/ingest/ingest.toml. The database: DATABASE_URL, or DATABASE_URL_FILE for a secret.
# Nothing is written outside /var/lib/ingest and /tmp, so that the root filesystem may be read-only.
ENV PATH=/opt/ingest/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1 \
    PYTHONFAULTHANDLER=1 \
    INGEST_CONFIG=/etc/ingest/ingest.toml \
    INGEST_DATA_DIR=/var/lib/ingest \
    INGEST_CACHE_DIR=/var/lib/ingest/cache \
    INGEST_LOG__FORMAT=json
COPY ingest.example.toml /etc/ingest/ingest.toml
USER 10001:10001
WORKDIR /var/lib/ingest
VOLUME /var/lib/ingest
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=30s --timeout=20s --start-period=120s --retries=3 CMD ["ingest", "health"]
ENTRYPOINT ["ingest"]
CMD ["run"]
