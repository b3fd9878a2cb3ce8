# Build: docker build -t mayfly .
# Run:   docker run -p 5555:5555 -v ./etc:/etc/mayfly -v mayfly-data:/var/lib/mayfly mayfly
FROM rust:1.95-bookworm AS build
WORKDIR /mayfly
COPY .cargo .cargo
COPY Cargo.toml Cargo.lock build.rs ./
COPY proto proto
COPY src src
# Cargo wants to see every target that Cargo.toml names.
COPY benches benches
RUN cargo build --release --locked --bin mayfly

FROM debian:bookworm-slim
# The roots under which identity providers are asked for their keys.
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates \
 && rm -rf /var/lib/apt/lists/* \
 && useradd --system --uid 10001 --home-dir /var/lib/mayfly --create-home mayfly
COPY --from=build /mayfly/target/release/mayfly /usr/local/bin/mayfly
USER 10001
WORKDIR /var/lib/mayfly
EXPOSE 5555
# SIGTERM stops in good order: what began is finished, the log and the audit log are flushed.
STOPSIGNAL SIGTERM
ENTRYPOINT ["mayfly"]
CMD ["serve", "--config", "/etc/mayfly/mayfly.yaml"]
