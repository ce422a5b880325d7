# mmgcp in the environment that tools/setup_env.sh builds. PyPI's torch, the default, computes on GPUs and brings CUDA along.
#
#   GPU  docker build -t mmgcp .
#        docker run --rm -it --gpus all --shm-size 8g -v /path/to/data:/mmgcp/data mmgcp
#   CPU  docker build -t mmgcp --build-arg MMGCP_TORCH_INDEX=https://download.pytorch.org/whl/cpu .
#        docker run --rm -it --shm-size 8g -v /path/to/data:/mmgcp/data mmgcp
#
# --build-arg MMGCP_STACK=openmmlab takes the original line of the OpenMMLab libraries.
FROM python:3.11-slim-bookworm

# OpenCV loads these libraries. Debian keeps no old versions that one could name.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends libgl1 libglib2.0-0 \
    && rm -rf /var/lib/apt/lists/* \
    && useradd --create-home --uid 1000 mmgcp \
    && install --directory --owner=1000 --group=1000 /mmgcp

USER 1000
WORKDIR /mmgcp
COPY --chown=1000:1000 . .

ARG MMGCP_STACK=onedl
ARG MMGCP_TORCH_INDEX=
RUN PIP_NO_CACHE_DIR=1 bash tools/setup_env.sh

# One of the two folders exists.
ENV MMGCP_STACK=$MMGCP_STACK PATH=/mmgcp/.venv/bin:/mmgcp/.venv-openmmlab/bin:$PATH
CMD ["bash"]
