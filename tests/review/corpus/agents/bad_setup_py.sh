# does: installs a source package whose setup.py reads the SSH key and sends it
# kind: malicious
# expect: SEN-040|SEN-041 high medium
# expect: SEN-001 critical proven
# allow: pypi.org files.pythonhosted.org
python -m pip -q install --no-cache-dir --no-build-isolation --no-deps --target vendor widgets-utils-pro
