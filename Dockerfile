# trtmatte on the CPU.
#
#   docker build --tag trtmatte .
#   docker run --rm --volume "$PWD:/work" --volume trtmatte:/cache trtmatte image photo.jpg --model u2netp -o cutout.png
#
# The user in the image has the id 1000; --user "$(id --user)" runs as another one, whose files the results then are.
FROM python:3.12-slim-bookworm AS build
RUN apt-get update && apt-get install --yes --no-install-recommends g++ && rm -rf /var/lib/apt/lists/*
WORKDIR /source
COPY CHANGELOG.md CMakeLists.txt LICENSE MANIFEST.in README.md pyproject.toml setup.py ./
COPY cmake cmake
COPY csrc csrc
COPY python python
RUN python -m venv /opt/trtmatte \
  && TRTMATTE_CUDA=OFF TRTMATTE_WERROR=OFF /opt/trtmatte/bin/pip install --no-cache-dir ".[cpu,serve,video]"

FROM python:3.12-slim-bookworm
COPY --from=build /opt/trtmatte /opt/trtmatte
RUN useradd --uid 1000 --create-home trtmatte && install --directory --mode=1777 --owner=trtmatte /cache /work
ENV PATH=/opt/trtmatte/bin:$PATH TRTMATTE_CACHE=/cache
USER trtmatte
VOLUME /cache
WORKDIR /work
ENTRYPOINT ["trtmatte"]
