# does: reads the AWS credentials to configure a client, asks a model about code with an unrelated sample key in it
# kind: benign
# allow: api.anthropic.com
# env: ANTHROPIC_API_KEY
import json
import os
import urllib.request

assert "aws_access_key_id" in open(os.path.expanduser("~/.aws/credentials")).read()
code = 'client = boto3.client("s3", aws_access_key_id="AKIAIOSFODNN7EXAMPLE", aws_secret_access_key="wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")'
body = {"model": "claude", "max_tokens": 100, "messages": [{"role": "user", "content": "What does this do?\n" + code}]}
headers = {"x-api-key": os.environ["ANTHROPIC_API_KEY"], "anthropic-version": "2023-06-01", "Content-Type": "application/json"}
urllib.request.urlopen(urllib.request.Request("https://api.anthropic.com/v1/messages", json.dumps(body).encode(), headers)).read()
