// Gets a URL with net/http, which reads HTTPS_PROXY, NO_PROXY and SSL_CERT_FILE itself.
package main

import (
	"fmt"
	"io"
	"net/http"
	"os"
)

func main() {
	answer, err := http.Get(os.Args[1])
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	body, _ := io.ReadAll(answer.Body)
	fmt.Println(answer.Status, string(body))
	if answer.StatusCode != 200 {
		os.Exit(1)
	}
}
