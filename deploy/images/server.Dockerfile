# The image of Trackside's own processes: web, scheduler, executor, dag-processor, triggerer, migrations.
# Build from the checkout's root, after `make build` (front end) and `tools/images wheelhouse server`:
#   docker build -f deploy/images/server.Dockerfile -t trackside-server:0.1.0 .
ARG BASE=python:3.11-slim
FROM ${BASE} AS packages
# what changes seldom first: these layers are kept from build to build
COPY deploy/images/wheelhouse/server /wheelhouse
# the checkout is the installation: both source roots on the path, no code of ours copied into site-packages
RUN python3 -m venv /opt/venv && /opt/venv/bin/pip install --no-cache-dir --no-index /wheelhouse/*.whl \
 && printf '/opt/trackside/platform\n/opt/trackside\n' > "$(/opt/venv/bin/python -c 'import site; print(site.getsitepackages()[0])')/trackside.pth" \
 && printf '#!/bin/sh\nexec /opt/venv/bin/python3 -m trackside.cli "$@"\n' > /opt/venv/bin/trackside && chmod 755 /opt/venv/bin/trackside \
 && /opt/venv/bin/pip uninstall -q -y pip setuptools

FROM packages AS build
COPY manage.py requirements.txt /opt/trackside/
COPY platform /opt/trackside/platform
COPY apps /opt/trackside/apps
COPY templates /opt/trackside/templates
COPY static /opt/trackside/static
COPY examples /opt/trackside/examples
RUN rm -rf /opt/trackside/platform/tests && find /opt/trackside -name tests -type d -prune -exec rm -rf {} + \
 && /opt/venv/bin/python -m compileall -q --invalidation-mode unchecked-hash /opt/trackside

FROM ${BASE}
COPY --from=packages /opt/venv /opt/venv
COPY --from=build /opt/trackside /opt/trackside
ENV PATH=/opt/venv/bin:/usr/local/bin:/usr/bin:/bin PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 DJANGO_SETTINGS_MODULE=config.settings HOME=/tmp
# any user id may be given to the container: what people do by hand in it is told by this name
ENV LOGNAME=trackside
USER 50000:50000
WORKDIR /opt/trackside
ENTRYPOINT ["trackside"]
CMD ["web"]
