# One image for every role: the command decides which.
#
#   docker build -t saga-coordinator .
#   docker run saga-coordinator                                 the coordinator: saga serve --role all
#   docker run saga-coordinator saga serve --role engine        ... or one half of it
#   docker run saga-coordinator saga migrate                    bring the database to the newest migration
#   docker run saga-coordinator saga topics                     create the topics that are missing
#   docker run saga-coordinator saga keys bootstrap ann         make an administrator's API key and print its token
#   docker run saga-coordinator python -m participants.payment  a sample participant
#
# Settings come from the environment (SAGA_...); docker-compose.yml shows the ones that are needed.

# A release pins this by digest: --build-arg PYTHON_IMAGE=python:3.13-slim@sha256:...
ARG PYTHON_IMAGE=python:3.13-slim

FROM ${PYTHON_IMAGE} AS builder
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore PIP_CACHE_DIR=/var/cache/pip
RUN python -m venv --without-pip /opt/venv

# Wheels only: neither this stage nor the next has a compiler, and what is hashed is what runs.
COPY requirements/base.txt /tmp/requirements.txt
RUN --mount=type=cache,target=/var/cache/pip \
    python -m pip --python /opt/venv/bin/python install \
        --require-hashes --only-binary :all: --requirement /tmp/requirements.txt

# The sources are used in place, so that the migrations stand where the coordinator looks for them.
COPY deploy/docker/saga /opt/venv/bin/saga
COPY deploy/docker/healthcheck.py /app/healthcheck.py
COPY alembic /app/alembic
COPY coordinator /app/coordinator
COPY participants /app/participants
COPY sagas /app/sagas
# The root file system may be read-only at run time, so bytecode is made here.
RUN chmod 0755 /opt/venv/bin/saga && chmod -R a+rX /app \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /app

FROM ${PYTHON_IMAGE}
ARG VERSION=0.1.0
ARG REVISION=unknown
LABEL org.opencontainers.image.title="saga-coordinator" \
      org.opencontainers.image.description="A standalone saga coordinator over Kafka and Postgres" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="${VERSION}" \
      org.opencontainers.image.revision="${REVISION}"

# A fixed number, so that volumes and policies can name it; nothing to log in with, nothing to install with. A volume
# that is mounted where API keys are kept gets the owner of that folder.
RUN groupadd --gid 10001 saga \
 && useradd --uid 10001 --gid 10001 --no-create-home --home-dir /nonexistent --shell /usr/sbin/nologin saga \
 && python -m pip uninstall --yes --quiet --root-user-action ignore pip \
 && mkdir --mode 0700 /run/keys && chown 10001:10001 /run/keys

# Owned by root: the process cannot change its own code.
COPY --from=builder /opt/venv /opt/venv
COPY --from=builder /app /app

ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
WORKDIR /app
USER 10001:10001
EXPOSE 8080 9464
STOPSIGNAL SIGTERM
HEALTHCHECK --interval=5s --timeout=15s --start-period=120s --retries=5 CMD ["python", "/app/healthcheck.py"]
CMD ["saga", "serve", "--role", "all"]
