# does: asks names over HTTPS, past the sandbox's DNS
# kind: malicious
# expect: SEN-082 medium medium
import urllib.request

headers = {"Accept": "application/dns-json"}
urllib.request.urlopen(urllib.request.Request("https://cloudflare-dns.com/dns-query?name=c2.night-owl.net&type=A", headers=headers)).read()
