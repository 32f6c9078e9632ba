# Training jobs, with TensorFlow and its recommenders add-ons. Build from the repository root:
#   docker build -f docker/trainer.Dockerfile -t rowbank-trainer:0.1.0 .
FROM python:3.11-slim-bookworm AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends g++ libnghttp2-dev \
 && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY constraints.txt ./
ENV PIP_CONSTRAINT=/source/constraints.txt
COPY protos protos
COPY client client
COPY trainer trainer
RUN pip wheel --no-cache-dir --wheel-dir /wheels ./protos "./client[cli,tfra]" ./trainer

FROM python:3.11-slim-bookworm
RUN apt-get update \
 && apt-get install -y --no-install-recommends libnghttp2-14 \
 && rm -rf /var/lib/apt/lists/*
RUN useradd --system --uid 10001 --create-home rowbank
RUN --mount=type=bind,from=build,source=/wheels,target=/wheels \
    pip install --no-cache-dir --no-index --find-links /wheels rowbank-trainer "rowbank[cli,tfra]"
# The add-ons' layers are Keras 2's.
ENV TF_USE_LEGACY_KERAS=1 TF_CPP_MIN_LOG_LEVEL=2
USER rowbank
WORKDIR /home/rowbank
STOPSIGNAL SIGTERM
ENTRYPOINT ["rowbank-train"]
CMD ["--help"]
