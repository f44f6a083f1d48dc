# One image for web and workers. BUILD=gpu installs torch with CUDA; BUILD=cpu the CPU build, a tenth of the size, where the
# package index has it (PIP_EXTRA_INDEX_URL can add PyTorch's index).
FROM python:3.11-slim-bookworm

ARG BUILD=cpu
ARG PIP_EXTRA_INDEX_URL
ENV PYTHONUNBUFFERED=1 PIP_NO_CACHE_DIR=1
WORKDIR /app

# Requirements change rarely, so they have their own layer.
COPY requirements.txt requirements.lock ./
COPY heimdall/__init__.py heimdall/bootstrap.py heimdall/
RUN if [ "$BUILD" = gpu ]; then \
        python -m venv .venv && .venv/bin/pip install --require-hashes --no-deps --requirement requirements.lock && .venv/bin/pip install --requirement requirements.txt; \
    else \
        python -c "import sys; from pathlib import Path; from heimdall.bootstrap import ensure_installed; sys.argv = ['-c', 'pass']; ensure_installed(Path.cwd(), ['requirements.txt'])"; \
    fi

COPY . .
RUN useradd --system --uid 10001 heimdall && install --directory --owner=heimdall --mode=0700 /data
ENV PATH=/app/.venv/bin:$PATH HEIMDALL_NO_VENV=1 HEIMDALL_DATA_DIR=/data
USER heimdall
VOLUME /data
EXPOSE 8001
HEALTHCHECK --interval=10s --timeout=5s --start-period=30s \
    CMD ["python", "-c", "from urllib.request import urlopen; urlopen('http://127.0.0.1:8001/healthz', timeout=4)"]
CMD ["python", "manage.py", "serve", "--host", "0.0.0.0", "--port", "8001"]
