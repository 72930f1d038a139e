# The page and the HTTP API of lin_jax: docker compose up
# On NVIDIA GPUs: docker build --build-arg EXTRAS=serve,tts,cuda13 -t lin_jax . and
# docker run --gpus all -p 127.0.0.1:7860:7860 lin_jax
FROM python:3.12-slim

ARG EXTRAS=serve,tts
RUN useradd --create-home lin
WORKDIR /opt/lin_jax
COPY pyproject.toml setup.py README.md LICENSE ./
COPY lin_jax lin_jax
COPY data_pipelines data_pipelines
COPY experiments experiments
RUN pip install --no-cache-dir ".[${EXTRAS}]"

USER lin
WORKDIR /home/lin
RUN mkdir --mode=700 .lin_jax
# The home may be read-only but for this folder.
ENV MPLCONFIGDIR=/home/lin/.lin_jax/matplotlib
EXPOSE 7860
HEALTHCHECK --interval=30s --timeout=5s --start-period=120s \
    CMD python -c "import urllib.request as r; r.urlopen('http://127.0.0.1:7860/v1/health', timeout=4)"
ENTRYPOINT ["lin"]
# As flags, which LIN_HOST and LIN_PORT do not change.
CMD ["serve", "--host", "0.0.0.0", "--port", "7860"]
