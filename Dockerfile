# Not built here: no test and no CI stage has built or run this image. It says what an image needs.
#
#   docker build --tag vgbdm .
#   docker run --rm --volume "$PWD/data:/data" vgbdm train-era5 store=/data/store run_dir=/data/run
#
# With GPUs: docker run --gpus all --shm-size 8g …; torch from PyPI brings CUDA along.
FROM python:3.11-slim-bookworm

# DeepSpeed compiles its disk access at run time; git tells the commit that files are written by.
RUN apt-get update \
    && apt-get install --yes --no-install-recommends g++ git libaio-dev \
    && rm -rf /var/lib/apt/lists/*

WORKDIR /opt/vgbdm
COPY . .
RUN pip install --no-cache-dir '.[train,report,cloud,grib]'

RUN useradd --create-home vgbdm
USER vgbdm
WORKDIR /home/vgbdm
ENTRYPOINT ["vgbdm"]
CMD ["--help"]
