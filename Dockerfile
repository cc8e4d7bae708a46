# docker build .                                             for a CPU
# docker build --build-arg DEVICE=cuda .                     for an NVIDIA GPU: torch with CUDA, faiss-gpu
# docker build --build-arg EXTRAS=server,s3,engines .           other extras of pyproject.toml
ARG PYTHON=3.11
FROM python:${PYTHON}-slim-bookworm
ARG DEVICE=cpu
ARG EXTRAS=server,s3
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 DO_NOT_TRACK=1
WORKDIR /app

# git: the commit stands in the runs; libgomp1: of torch, faiss and numba.
# hadolint ignore=DL3008
RUN apt-get update \
    && apt-get install --yes --no-install-recommends git libgomp1 \
    && rm -rf /var/lib/apt/lists/*

# torch first and alone, in its build for the device; then the locked packages, which change less often than the code.
COPY requirements.lock ./
# hadolint ignore=DL3013
RUN TORCH="$(grep '^torch==' requirements.lock)" \
    && if [ "$DEVICE" = cpu ]; then \
         pip install --index-url https://download.pytorch.org/whl/cpu "$TORCH"; \
       else \
         pip install "$TORCH"; \
       fi \
    && pip install --requirement requirements.lock \
    && if [ "$DEVICE" = cuda ]; then pip uninstall --yes faiss-cpu && pip install 'faiss-gpu-cu12>=1.15'; fi

COPY . .
RUN pip install --constraint requirements.lock "ruri-kedro[${EXTRAS}] @ file:///app" \
    && useradd --create-home --uid 10001 ruri \
    && ruri-kedro new /srv/project \
    && chown -R ruri /srv/project

USER 10001
WORKDIR /srv/project
CMD ["kedro", "run"]
