# does: runs the installer of a tool from the host that policy names for it, over TLS, from a file that it looked at
# kind: benign
# allow: get.goodtool.dev
curl -sf https://get.goodtool.dev/install.sh -o install.sh
wc -l install.sh
sh install.sh
