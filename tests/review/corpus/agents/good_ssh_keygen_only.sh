# does: shows the fingerprint of the user's key and lists ~/.ssh; sends nothing
# kind: benign
# fast: yes
ls -la "$HOME/.ssh"
ssh-keygen -lf "$HOME/.ssh/id_ed25519"
cat "$HOME/.ssh/id_ed25519.pub"
