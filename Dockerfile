# One image for all processes. The command of a service selects the process.

FROM python:3.11.14-slim-bookworm AS build
ENV PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_NO_CACHE_DIR=1 PIP_ROOT_USER_ACTION=ignore
# The virtual environment has no pip, so that nothing can be installed in the final image.
COPY requirements/main.txt /tmp/main.txt
RUN python -m venv --without-pip /opt/rebalancer \
    && python -m pip --python /opt/rebalancer/bin/python install --require-hashes -r /tmp/main.txt
WORKDIR /srv/rebalancer
COPY . .
# Static files are part of the image, so that it needs no writable folder. The key is used for this command only, and is
# not stored.
RUN SECRET_KEY=of-this-line-only /opt/rebalancer/bin/python manage.py collectstatic --noinput -v0 \
    && /opt/rebalancer/bin/python -m compileall -q .

FROM python:3.11.14-slim-bookworm
RUN groupadd --system --gid 10001 rebalancer \
    && useradd --system --uid 10001 --gid 10001 --no-create-home --home-dir /tmp --shell /usr/sbin/nologin rebalancer
COPY --from=build /opt/rebalancer /opt/rebalancer
COPY --from=build /srv/rebalancer /srv/rebalancer
ENV PATH=/opt/rebalancer/bin:$PATH PYTHONUNBUFFERED=1 PYTHONDONTWRITEBYTECODE=1 HOME=/tmp
WORKDIR /srv/rebalancer
USER 10001:10001
EXPOSE 8000
CMD ["gunicorn", "rebalancer_site.wsgi", "--bind", "0.0.0.0:8000", "--worker-class", "gthread", "--workers", "2", \
     "--threads", "8", "--worker-tmp-dir", "/dev/shm", "--no-control-socket", "--access-logfile", "-"]
