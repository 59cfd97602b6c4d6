// Package harness starts a real control plane, real monitoring and the real extender, and tells what became of pods.
//
// Everything listens on free ports of 127.0.0.1, logs into the test's own folder and is stopped by its process id.
package harness

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
)

// setup builds the binaries where they are not built yet, and returns their folder.
func setup(repository string) (string, error) {
	command := exec.Command(filepath.Join(repository, "scripts", "e2e-setup.sh"))
	command.Stderr = os.Stderr
	output, err := command.Output()
	if err != nil {
		return "", fmt.Errorf("scripts/e2e-setup.sh failed: %w", err)
	}
	return strings.TrimSpace(string(output)), nil
}

var plain = &http.Client{Timeout: 5 * time.Second}

// answers tells whether a GET is answered with 200.
func answers(url string) error {
	_, err := Fetch(plain, url)
	return err
}

// Fetch is the body of a GET that is answered with 200.
func Fetch(client *http.Client, url string) ([]byte, error) {
	response, err := client.Get(url)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusOK {
		return nil, fmt.Errorf("%s answers %s: %s", url, response.Status, body)
	}
	return body, nil
}

func tokenRequest() *authenticationv1.TokenRequest {
	seconds := int64((12 * time.Hour).Seconds())
	return &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{ExpirationSeconds: &seconds}}
}
