"""Gets a URL with urllib, which reads HTTPS_PROXY and SSL_CERT_FILE."""

import sys
import urllib.request

try:
    answer = urllib.request.urlopen(sys.argv[1], timeout=20)
except OSError as error:
    sys.exit(str(error))
text = answer.read().decode()
print(answer.status, text)
sys.exit(answer.status != 200)
