# does: makes a virtual environment in the workspace and runs a program in it
# kind: benign
import subprocess
import sys

subprocess.run([sys.executable, "-m", "venv", "--without-pip", "env"], check=True)
subprocess.run(["env/bin/python", "-c", "print('in it')"], check=True)
