# syntax=docker/dockerfile:1
#
# Not tried yet: this file was written where no Docker engine was at hand. What it does was taken step by step from builds and runs
# on Debian 12; the first build on an engine has to confirm it.
#
#   docker build -t burnwatch .
#   docker run --read-only -v burnwatch-data:/data -v ./rules:/config/rules:ro \
#     -e BURNWATCH_SERVER__LISTEN=0.0.0.0:9320 -e 'BURNWATCH_SERVER__TOKENS=[{ name = "me", scopes = ["admin"], sha256 = "…" }]' \
#     -e BURNWATCH_INTAKE__LISTEN=0.0.0.0:9321 -e 'BURNWATCH_INTAKE__KEYS=["shop-1"]' \
#     -p 9320:9320 -p 9321:9321 burnwatch
#
# A non-loopback address without tokens (or app keys) refuses to start; that is why both are given above.

FROM rust:1.95-bookworm AS build
WORKDIR /src
COPY Cargo.toml Cargo.lock ./
COPY src ./src
COPY migrations ./migrations
RUN --mount=type=cache,target=/usr/local/cargo/registry --mount=type=cache,target=/src/target \
    cargo build --release --locked && cp target/release/burnwatch /burnwatch

FROM debian:bookworm-slim
# ca-certificates: outgoing HTTPS trusts the platform's store. git: rules that follow a repository.
RUN apt-get update && apt-get install -y --no-install-recommends ca-certificates git && rm -rf /var/lib/apt/lists/* \
    && useradd --uid 10001 --user-group --home-dir /data --no-create-home --shell /usr/sbin/nologin burnwatch \
    && install -d -o 10001 -g 10001 -m 0700 /data && install -d /config
COPY --from=build /burnwatch /usr/local/bin/burnwatch
COPY LICENSE /usr/share/doc/burnwatch/LICENSE
# A number, so that orchestrators can see that it is not root.
USER 10001:10001
# Everything that is written lies below /data, so the root file system may be read-only.
ENV BURNWATCH_DATABASE__URL=sqlite:///data/burnwatch.db \
    HOME=/data
VOLUME /data
# Here ./burnwatch.toml and ./rules are looked for; without them, the defaults and the built-in pack hold.
WORKDIR /config
EXPOSE 9320 9321
# The binary asks itself; the image has no curl.
HEALTHCHECK --interval=10s --timeout=6s --start-period=30s CMD ["burnwatch", "healthcheck"]
ENTRYPOINT ["burnwatch"]
CMD ["run"]
