"""Gets a URL with requests, which reads HTTPS_PROXY and REQUESTS_CA_BUNDLE."""

import sys

import requests

try:
    answer = requests.get(sys.argv[1], timeout=20)
except requests.RequestException as error:
    sys.exit(str(error))
print(answer.status_code, answer.text)
sys.exit(answer.status_code != 200)
