# does: writes AGENTS.md about the project because its task says so
# kind: benign
# argv: Please write AGENTS.md for this repository
import os
import sys

task = " ".join(sys.argv[1:])
assert "AGENTS.md" in task
names = sorted(name for name in os.listdir("src") if name.endswith(".py"))
with open("AGENTS.md", "w") as file:
    file.write("# Widgets\nRun the tests with pytest. Sources:\n" + "".join(f"- src/{name}\n" for name in names))
