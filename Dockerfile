# The clone with its environment as `make` installs it, for machines that have Apptainer or Docker and no package index
# (docs/cluster.md). What is left out: .dockerignore.
FROM python:3.11-slim-bookworm
RUN apt-get update && apt-get install -y --no-install-recommends make && rm -rf /var/lib/apt/lists/*
WORKDIR /opt/onemask
COPY . .
RUN make .venv/.installed
ENV PATH=/opt/onemask/.venv/bin:$PATH
