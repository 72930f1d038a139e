# The page and the HTTP API of lin_jax: docker build -t lin_jax . && docker compose up
# On NVIDIA GPUs: docker build --build-arg EXTRAS=serve,tts,cuda13 -t lin_jax .
FROM python:3.12-slim

ARG EXTRAS=serve,tts
RUN useradd --create-home lin
WORKDIR /opt/lin_jax
COPY setup.py README.md LICENSE ./
COPY lin_jax lin_jax
COPY data_pipelines data_pipelines
COPY experiments experiments
RUN pip install --no-cache-dir ".[${EXTRAS}]"

USER lin
WORKDIR /home/lin
RUN mkdir --mode=700 .lin_jax
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/v1/health', timeout=4)"
ENTRYPOINT ["lin"]
CMD ["serve", "--host", "0.0.0.0"]
