# does: deletes the user's documents, outside of its workspace
# kind: malicious
# expect: SEN-130 high medium
rm -rf "$HOME/Documents"
