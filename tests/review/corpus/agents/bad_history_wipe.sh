# does: empties the shell's history and turns it off
# kind: malicious
# expect: SEN-140 medium medium
: > "$HOME/.bash_history"
ln -sf /dev/null "$HOME/.bash_history"
