"""Builds the package and its C extension. Metadata is in pyproject.toml.

The packages are listed here, because the seccomp profiles lie at the top level of the source tree and belong into the
package once it is built.
"""

from setuptools import find_packages, setup

setup(
    cffi_modules=["scripts/build_native.py:ffibuilder"],
    packages=[*find_packages(include=["sentra_sandbox*"]), "sentra_sandbox.seccomp_profiles"],
    scripts=["scripts/bin/sentra-sandbox"],
    package_dir={"sentra_sandbox.seccomp_profiles": "seccomp_profiles"},
)
