// Package harness starts a real control plane, real monitoring and the real extender, and tells what became of pods.
//
// Everything listens on free ports of 127.0.0.1, logs into the test's own folder and is stopped by its process id.
package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
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

// The kinds in deploy/ that the tests apply.
var resources = map[string]string{
	"Namespace": "namespaces", "ServiceAccount": "serviceaccounts",
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
}

// applyRBAC applies what is shipped, as it is.
func (c *ControlPlane) applyRBAC() error {
	path := filepath.Join(c.Repository, "deploy", "scheduler-extender", "rbac.yaml")
	text, err := os.ReadFile(path)
	if err != nil {
		return err
	}
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return err
	}
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return nil
		} else if err != nil {
			return fmt.Errorf("failed to read %s: %w", path, err)
		}
		resource, known := resources[object.GetKind()]
		if !known {
			return fmt.Errorf("%s has a %s, which the tests cannot apply", path, object.GetKind())
		}
		version, err := schema.ParseGroupVersion(object.GetAPIVersion())
		if err != nil {
			return err
		}
		_, err = client.Resource(version.WithResource(resource)).Namespace(object.GetNamespace()).
			Apply(context.Background(), object.GetName(), object, metav1.ApplyOptions{FieldManager: "e2e"})
		if err != nil {
			return fmt.Errorf("failed to apply %s `%s`: %w", object.GetKind(), object.GetName(), err)
		}
	}
}
