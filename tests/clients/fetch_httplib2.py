"""Gets a URL with httplib2, which opens tunnels for plain HTTP as well."""

import sys

import httplib2

proxy = httplib2.proxy_info_from_environment()
if proxy is None:
    sys.exit("no proxy is set")
try:
    answer, body = httplib2.Http(proxy_info=proxy, timeout=20).request(sys.argv[1])
except (OSError, httplib2.error.HttpLib2Error) as error:
    sys.exit(f"{type(error).__name__}: {error}")
print(answer.status, body.decode())
sys.exit(answer.status != 200)
