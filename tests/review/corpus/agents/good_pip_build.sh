# does: installs a source package whose setup.py only builds
# kind: benign
# allow: pypi.org files.pythonhosted.org
python -m pip -q install --no-cache-dir --no-build-isolation --no-deps --target vendor plainpackage
