# The image of tasks: Python, Trackside's wheel, and nothing of the server. Add what your DAGs import in an image of your own:
#   FROM trackside-task:1
#   RUN /opt/trackside/bin/python -m ensurepip && /opt/trackside/bin/python -m pip install --no-cache-dir pandas==…
#
# Build (the wheelhouse is made by `tools/images wheelhouse`; no package index is asked while building):
#   docker build -f deploy/images/task.Dockerfile -t trackside-task:1 deploy/images
ARG BASE=python:3.11-slim
FROM ${BASE} AS build
# what changes seldom first: these layers are kept from build to build
COPY wheelhouse/others /wheelhouse/others
RUN python3 -m venv /opt/trackside && /opt/trackside/bin/pip install --no-cache-dir --no-index /wheelhouse/others/*.whl
COPY wheelhouse/own /wheelhouse/own
RUN /opt/trackside/bin/pip install --no-cache-dir --no-index --no-deps /wheelhouse/own/*.whl \
 && /opt/trackside/bin/pip uninstall -q -y pip setuptools

FROM ${BASE}
COPY --from=build /opt/trackside /opt/trackside
ENV PATH=/opt/trackside/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1
USER 50000:50000
WORKDIR /tmp
CMD ["python3", "-m", "trackside.runner", "--help"]
