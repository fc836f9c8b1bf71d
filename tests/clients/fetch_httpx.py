"""Gets a URL with httpx, which reads HTTPS_PROXY and SSL_CERT_FILE."""

import sys

import httpx

try:
    answer = httpx.get(sys.argv[1], timeout=20)
except httpx.HTTPError as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(answer.status_code, answer.text)
sys.exit(answer.status_code != 200)
