# syntax=docker/dockerfile:1
# One image for every process; the command says which (see docker-compose.yml).

# The Python that the tests run on. Another one needs another run of the tests.
ARG PYTHON=python:3.11-slim-bookworm

FROM ${PYTHON} AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
WORKDIR /source

# First what changes seldom: the locked dependencies, byte for byte those that were tested.
COPY requirements/ requirements/
RUN python -m venv /opt/scores \
 && /opt/scores/bin/pip install --require-hashes --only-binary :all: -r requirements/runtime.txt

# The build tool and what it needs, from the same lock. pip refuses when one is missing in this list.
RUN awk '/^[a-z]/ {wanted = /^(hatchling|packaging|pathspec|pluggy|tomlkit|trove-classifiers)==/} wanted' \
      requirements/dev.txt > build.txt \
 && pip install --require-hashes --only-binary :all: -r build.txt

COPY pyproject.toml README.md LICENSE ./
COPY schemas/ schemas/
COPY streams/ streams/
COPY gateway/ gateway/
COPY consumers/ consumers/
COPY cli/ cli/
# What is installed is the wheel, as in the tests; nothing of the source tree reaches the final image.
RUN pip wheel --no-deps --no-build-isolation --wheel-dir dist . \
 && /opt/scores/bin/pip install --no-deps dist/*.whl \
 && /opt/scores/bin/python -m compileall -q /opt/scores/lib \
 && /opt/scores/bin/scores --help > /dev/null

FROM ${PYTHON}
LABEL org.opencontainers.image.title="score-streaming" \
      org.opencontainers.image.licenses="Apache-2.0"
# A number, so that a cluster can check that it is not root.
RUN useradd --system --uid 10001 --user-group --no-create-home --home-dir /tmp --shell /usr/sbin/nologin scores
COPY --from=build /opt/scores /opt/scores
# A volume that is mounted here takes over its owner: the audit is written there, and nobody else reads it.
RUN install --directory --owner=10001 --group=10001 --mode=0700 /var/lib/scores/audit
ENV PATH=/opt/scores/bin:$PATH \
    PYTHONUNBUFFERED=1 \
    PYTHONDONTWRITEBYTECODE=1
USER 10001:10001
# The one place that may be written to: Faust makes a folder there, for tables that this service keeps in Redis.
WORKDIR /tmp
CMD ["scores", "--help"]
