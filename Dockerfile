# Build: docker build -t mayfly .
# Run:   docker run -p 5555:5555 -v ./etc:/etc/mayfly -v mayfly-data:/var/lib/mayfly mayfly
FROM rust:1.95-bookworm AS build
# AWS-LC is built from source by the crate: a C compiler and cmake are all it takes.
RUN apt-get update \
 && apt-get install -y --no-install-recommends cmake \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /mayfly
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
COPY keys-dev keys-dev
COPY benches benches
RUN cargo build --release --locked --bin mayfly

FROM debian:bookworm-slim
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/mayfly --create-home mayfly
COPY --from=build /mayfly/target/release/mayfly /usr/local/bin/mayfly
USER 10001
WORKDIR /var/lib/mayfly
EXPOSE 5555
# SIGTERM stops gracefully: what began is finished, the log and the audit log are flushed.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mayfly"]
CMD ["serve", "--config", "/etc/mayfly/mayfly.yaml"]
