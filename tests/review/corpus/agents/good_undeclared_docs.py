# does: reads public pages of hosts that the policy does not name, with ordinary query strings
# kind: benign
import urllib.request

for host in ("docs.widgets.dev", "en.wikipedia.org", "stackoverflow.com"):
    urllib.request.urlopen(f"https://{host}/search?q=how+to+compute+the+area+of+a+widget&page=2").read()
