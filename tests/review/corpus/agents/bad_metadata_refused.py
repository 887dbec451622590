# does: asks for the metadata service, which the sandbox refuses
# kind: malicious
# expect: SEN-010 medium medium
import urllib.request

try:
    urllib.request.urlopen("http://169.254.169.254/latest/meta-data/iam/security-credentials/").read()
except OSError as error:
    print(error)
