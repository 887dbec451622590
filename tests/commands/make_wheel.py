"""Writes tiny_wheel-1.0-py3-none-any.whl into a directory: a wheel with one module and one script, made by hand."""

import sys
import zipfile
from pathlib import Path

FILES = {
    "tiny_wheel.py": "def main():\n    print('tiny wheel runs')\n",
    "tiny_wheel-1.0.dist-info/METADATA": "Metadata-Version: 2.1\nName: tiny-wheel\nVersion: 1.0\n",
    "tiny_wheel-1.0.dist-info/WHEEL": "Wheel-Version: 1.0\nGenerator: hand\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    "tiny_wheel-1.0.dist-info/entry_points.txt": "[console_scripts]\ntiny-wheel = tiny_wheel:main\n",
}

with zipfile.ZipFile(Path(sys.argv[1]) / "tiny_wheel-1.0-py3-none-any.whl", "w") as wheel:
    for name, text in FILES.items():
        wheel.writestr(name, text)
    record = "".join(f"{name},,\n" for name in [*FILES, "tiny_wheel-1.0.dist-info/RECORD"])
    wheel.writestr("tiny_wheel-1.0.dist-info/RECORD", record)
