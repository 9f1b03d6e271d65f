# An image with sluice and all that `sluice serve` and `sluice worker` run.
#
#   make build && docker build -t sluice .          (or podman, or buildah)
#   docker run --privileged -v /etc/sluice:/etc/sluice -v sluice:/var/lib/sluice -p 8080:8080 sluice
#   docker run --privileged ... sluice worker ...
#
# It listens on every interface of its container, whatever the site file says; SLUICE_LISTEN changes that.
#
# A worker makes namespaces and mounts for its sandboxes, hence --privileged; serve alone does not need it when it is
# told to start no worker of its own. BASE may be any Debian 12 image; what it lacks is installed.
ARG BASE=debian:12-slim
FROM ${BASE}

COPY scripts/install.sh /usr/local/share/sluice/install.sh
RUN /usr/local/share/sluice/install.sh serve && rm -rf /var/lib/apt/lists/* /var/cache/apt/*

COPY bin/sluice /usr/local/bin/sluice
ENV SLUICE_LISTEN=0.0.0.0:8080
VOLUME /var/lib/sluice
WORKDIR /var/lib/sluice
EXPOSE 8080
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["serve", "--config", "/etc/sluice/sluice.yaml"]
