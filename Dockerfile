# syntax=docker/dockerfile:1
FROM python:3.13-slim AS build
WORKDIR /src
RUN python -m venv /opt/ingest
COPY pyproject.toml README.md constraints.txt ./
COPY ingest ingest
COPY sql sql
RUN /opt/ingest/bin/pip install --no-cache-dir --constraint constraints.txt .

FROM python:3.13-slim
RUN useradd --system --create-home --home-dir /var/lib/ingest ingest
COPY --from=build /opt/ingest /opt/ingest
ENV PATH=/opt/ingest/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER ingest
WORKDIR /var/lib/ingest
# Configuration: mount /etc/ingest/ingest.toml; the database: DATABASE_URL.
ENV INGEST_CONFIG=/etc/ingest/ingest.toml
STOPSIGNAL SIGTERM
ENTRYPOINT ["ingest"]
CMD ["run"]
