# Two images: the sidecar (the default) and, by --target simulator, the stand-ins
# for HelseID and SFM.
#
#   docker build --build-arg VERSION=1.2.3 --build-arg REVISION=$(git rev-parse HEAD) -t sfm-sidecar .
#   docker buildx build --platform linux/amd64,linux/arm64 …
#
# Neither holds a shell or a package manager, and neither needs a home folder or a
# writable root. There is no HEALTHCHECK: probes run "sidecar probe live" and its
# like, and under Kubernetes that is the chart's business.

# Pinned, so that a build of tomorrow is a build of today. Give another by
# --build-arg; BASE may be a distroless-static image where scratch is not allowed.
ARG BUILDER=docker.io/library/golang:1.26.8-bookworm@sha256:dc9ad6c05acc7a88e5b71bde60a5fe3bd4b9f0db209011711b464107438a8107
ARG BASE=scratch

FROM --platform=$BUILDPLATFORM ${BUILDER} AS build
WORKDIR /src
COPY go.mod go.sum ./
RUN go mod download
COPY LICENSE ./
COPY cmd ./cmd
COPY internal ./internal
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH go build -trimpath -buildvcs=false \
	-ldflags "-s -w -X main.version=$VERSION" -o /out/ ./cmd/sidecar ./cmd/simulator

# The stand-ins listen on loopback: run them in the pod of what they are to answer.
FROM ${BASE} AS simulator
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sfm-sidecar-simulator" \
	org.opencontainers.image.description="Strict stand-ins for HelseID and SFM, for tests" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/simulator /simulator
USER 65532:65532
ENTRYPOINT ["/simulator"]

FROM ${BASE} AS sidecar
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title="sfm-sidecar" \
	org.opencontainers.image.description="Local reverse proxy that gives an EPJ's calls to SFM their HelseID token and DPoP proof" \
	org.opencontainers.image.licenses="Apache-2.0" \
	org.opencontainers.image.version="$VERSION" \
	org.opencontainers.image.revision="$REVISION"
COPY --from=build /etc/ssl/certs/ca-certificates.crt /etc/ssl/certs/ca-certificates.crt
COPY --from=build /src/LICENSE /LICENSE
COPY --from=build /out/sidecar /sidecar
USER 65532:65532
ENTRYPOINT ["/sidecar"]
