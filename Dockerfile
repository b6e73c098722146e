# syntax=docker/dockerfile:1
# The image of a cluster: this package, PyTorch with CUDA and Ray. KubeRay's probes need bash, wget and Ray's
# dashboard agent, which is a part of ray[default].
#
#     docker build -t registry.example/spinenas:0.1.0 .
FROM python:3.11-slim-bookworm

RUN apt-get update \
    && apt-get install --yes --no-install-recommends bash wget \
    && rm -rf /var/lib/apt/lists/*

COPY --from=ghcr.io/astral-sh/uv:0.9 /uv /usr/local/bin/uv

# The user that the pods of KubeRay usually run as; volumes have to be writable for it.
RUN useradd --create-home --uid 1000 ray
WORKDIR /home/ray/spinenas
ENV UV_LINK_MODE=copy UV_PYTHON_DOWNLOADS=never PATH=/home/ray/spinenas/.venv/bin:$PATH

# The packages change less often than our code, so that they have a layer of their own.
COPY pyproject.toml uv.lock ./
RUN uv sync --locked --no-dev --no-install-project --compile-bytecode

COPY . .
RUN uv sync --locked --no-dev --no-editable --compile-bytecode \
    && ray_version=$(python -c 'import ray; print(ray.__version__)') \
    && uv pip install "ray[default]==$ray_version" \
    && nas --help

USER ray
CMD ["nas", "--help"]
