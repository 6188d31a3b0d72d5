# The image of Sluice: one program, which runs as worker, as HTTP ingress, or as both. docs/operations.md says how to configure it.
#
#   docker build --tag sluice .

# The library of Debian 12, librdkafka 2.0.2, is too old for SCRAM with Kafka 4 and for kafka.group_protocol: consumer.
FROM python:3.11-slim-bookworm AS librdkafka
COPY deploy/librdkafka.txt /
RUN pip download --no-deps --only-binary :all: --require-hashes --dest /wheels --requirement /librdkafka.txt \
    && python -m zipfile -e /wheels/*.whl /unpacked \
    && mkdir /librdkafka \
    && cp /unpacked/confluent_kafka.libs/librdkafka-*.so.1 /librdkafka/librdkafka.so.1

FROM swift:6.3-bookworm AS build
WORKDIR /sluice
COPY scripts scripts
RUN scripts/bootstrap
COPY . .
RUN swift build -c release --product sluice --static-swift-stdlib \
    && cp "$(swift build -c release --show-bin-path)/sluice" /usr/local/bin/

FROM debian:bookworm-slim
# curl is for the health check only.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends \
        ca-certificates curl libgnutls30 libmicrohttpd12 libnettle8 libpq5 libsimdjson14 libsystemd0 libyaml-0-2 zlib1g \
    && rm -rf /var/lib/apt/lists/*
COPY --from=librdkafka /librdkafka /opt/librdkafka
COPY --from=build /usr/local/bin/sluice /usr/local/bin/
ENV LD_LIBRARY_PATH=/opt/librdkafka
# The program writes no file, so the root file system can be read-only.
USER 10001:10001
EXPOSE 8000
HEALTHCHECK --interval=10s --timeout=3s --start-period=10s \
    CMD ["curl", "--fail", "--silent", "--output", "/dev/null", "http://127.0.0.1:8000/livez"]
ENTRYPOINT ["/usr/local/bin/sluice"]
CMD ["run", "--config", "/etc/sluice/sluice.yaml"]
