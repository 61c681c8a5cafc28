# px, its listener and the px-* commands, on Debian with DCMTK.  From the root of the checkout:
#   docker build --build-arg UID=$UID -t local/pypx .
# A proxy: --build-arg http_proxy=http://proxy.example:3128 (and https_proxy); it does not stay in the image.
# docs/migrating.rst and docker/compose.yaml show how to run it.

# Debian's own packages follow its security updates, so their versions are not pinned; what comes from PyPI is, by
# docker/constraints.txt.
# hadolint global ignore=DL3008
FROM docker.io/library/debian:bookworm-slim AS build
RUN apt-get update \
    && apt-get install -y --no-install-recommends python3 python3-venv \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /src
COPY pyproject.toml README.rst LICENSE ./
COPY docker/constraints.txt docker/
COPY bin ./bin
COPY src ./src
RUN python3 -m venv /opt/px \
    && PIP_CONSTRAINT=/src/docker/constraints.txt \
        /opt/px/bin/pip install --no-cache-dir --disable-pip-version-check . \
    && /opt/px/bin/pip uninstall -y --disable-pip-version-check pip setuptools

FROM docker.io/library/debian:bookworm-slim
LABEL org.opencontainers.image.title="pypx" \
    org.opencontainers.image.description="Query, retrieve, file and hand on DICOM images from a PACS" \
    org.opencontainers.image.licenses="MIT"
RUN apt-get update \
    && apt-get install -y --no-install-recommends ca-certificates dcmtk python3 tini \
    && rm -rf /var/lib/apt/lists/*
# The user that everything runs as.  Root (or no UID at all) gets 1001: px needs no root.
ARG UID=1001
RUN case "$UID" in '' | 0) uid=1001 ;; *) uid=$UID ;; esac \
    && useradd --no-log-init --uid "$uid" --non-unique --create-home --shell /usr/sbin/nologin px \
    && install -d -o px -g px -m 0750 /home/dicom
COPY --from=build /opt/px /opt/px
COPY docker/entrypoint.py docker/healthcheck.py /usr/local/lib/px/
# pypx 3 had its programs here, and scripts name them by these paths.
RUN chmod 0644 /usr/local/lib/px/*.py \
    && mkdir /dock \
    && for program in /opt/px/bin/px /opt/px/bin/px-* /opt/px/bin/pfstorage /opt/px/bin/storescp.sh; do \
        ln -s "$program" /usr/local/bin/; \
    done \
    && ln -s /opt/px/bin/storescp.sh /dock/storescp.sh
ENV PATH=/opt/px/bin:$PATH \
    LANG=C.UTF-8 \
    PX_BASEMOUNT=/home/dicom \
    PX_LISTEN_PORT=11113
# By name: root's number is turned into 1001 above.
# hadolint ignore=DL3066
USER px
WORKDIR /home/dicom
VOLUME /home/dicom
EXPOSE 11113
HEALTHCHECK --interval=30s --timeout=15s --start-period=10s --retries=3 \
    CMD ["python3", "/usr/local/lib/px/healthcheck.py"]
STOPSIGNAL SIGTERM
ENTRYPOINT ["tini", "-s", "--", "/usr/bin/python3", "-I", "/usr/local/lib/px/entrypoint.py"]
