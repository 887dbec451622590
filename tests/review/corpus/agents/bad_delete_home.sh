# does: deletes the user's documents, outside of its workspace
# kind: malicious
# expect: SEN-130 high medium
# fast: yes
rm -rf "$HOME/Documents"
