# does: installs a wheel from the registry
# kind: benign
# allow: pypi.org files.pythonhosted.org
python -m pip -q install --no-cache-dir --target vendor roundwheel
