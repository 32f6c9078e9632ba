# Parameter server, retrieval service and the operator's command line. Build from the repository root:
#   docker build -f docker/server.Dockerfile -t rowbank-server:0.1.0 .
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libnghttp2-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY constraints.txt ./
ENV PIP_CONSTRAINT=/source/constraints.txt
COPY protos protos
COPY client client
COPY server server
RUN pip wheel --no-cache-dir --wheel-dir /wheels ./protos "./client[cli]" "./server[tracing]"

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends libnghttp2-14 \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --create-home rowbank
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels "rowbank-server[tracing]" "rowbank[cli]"
USER rowbank
WORKDIR /home/rowbank
EXPOSE 7700 7780 7781 7782 7782
STOPSIGNAL SIGTERM
ENTRYPOINT ["rowbank"]
CMD ["--help"]
