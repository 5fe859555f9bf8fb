# syntax=docker/dockerfile:1
# One image for web, workers and beat; docker-compose.yml says which command each runs. docs/operations.md tells the rest.
ARG PYTHON=3.12-slim-bookworm

FROM python:${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1
RUN python -m venv /venv
COPY requirements/lock/prod.txt /tmp/requirements.txt
# The embedded servers of `make run` stay out: in a container PostgreSQL and Valkey are containers of their own.
RUN /venv/bin/pip install --require-hashes -r /tmp/requirements.txt \
 && find /venv -name __pycache__ -type d -prune -exec rm -rf {} +
WORKDIR /app
COPY . .
# Collected here, so that the running container writes no file of the product. The values are for this one command only.
RUN PYTHONDONTWRITEBYTECODE=1 DATA_DIR=/tmp/data DATABASE_URL=sqlite:////tmp/none REDIS_URL=redis://none SECRET_KEY=build-only \
    /venv/bin/python manage.py collectstatic --noinput -v0 && mkdir -p /data && mv /tmp/data/static /data/static \
 && /venv/bin/python -m compileall -q aiagents accounts billing agents chat tasks

FROM python:${PYTHON}
# The trust store is what vendors' TLS is checked with.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates && rm -rf /var/lib/apt/lists/* \
 && useradd --uid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin aiagents
COPY --from=build /venv /venv
COPY --from=build /app /app
COPY --from=build --chown=10001:10001 /data /data
ENV PATH=/venv/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 \
    ENVIRONMENT=production HOST=0.0.0.0 PORT=8000 DATA_DIR=/data
WORKDIR /app
USER 10001:10001
EXPOSE 8000
# SIGTERM drains: new turns get 503, running ones DRAIN_SECONDS. Give the container longer than that.
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=10s --timeout=3s --start-period=30s --retries=3 \
  CMD ["python", "-c", "import os,urllib.request as u; u.urlopen('http://127.0.0.1:' + os.environ['PORT'] + '/health', timeout=2)"]
CMD ["python", "-m", "aiagents.server"]
