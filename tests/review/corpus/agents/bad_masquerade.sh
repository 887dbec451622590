# does: copies a shell under the name of a kernel thread and runs it
# kind: malicious
# expect: SEN-111|SEN-112 medium medium
mkdir -p "$HOME/.cache"
cp /bin/sh "$HOME/.cache/kworker"
bash -c 'exec -a "[kworker/0:1]" "$HOME/.cache/kworker" -c "id > /dev/null"'
