package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
)

// The kinds in deploy/ that the tests apply.
var resources = map[string]string{
	"Namespace": "namespaces", "ServiceAccount": "serviceaccounts",
	"ClusterRole": "clusterroles", "ClusterRoleBinding": "clusterrolebindings",
	"ValidatingAdmissionPolicy":        "validatingadmissionpolicies",
	"ValidatingAdmissionPolicyBinding": "validatingadmissionpolicybindings",
	"ConfigMap":                        "configmaps", "Service": "services", "Deployment": "deployments",
	"PodDisruptionBudget": "poddisruptionbudgets", "NetworkPolicy": "networkpolicies",
}

// Manifest is the objects of a file below deploy/scheduler-extender, as it is shipped.
func (c *ControlPlane) Manifest(file string) ([]*unstructured.Unstructured, error) {
	path := filepath.Join(c.Repository, "deploy", "scheduler-extender", file)
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var objects []*unstructured.Unstructured
	decoder := utilyaml.NewYAMLOrJSONDecoder(bytes.NewReader(text), 4096)
	for {
		object := &unstructured.Unstructured{}
		if err := decoder.Decode(object); errors.Is(err, io.EOF) {
			return objects, nil
		} else if err != nil {
			return nil, fmt.Errorf("failed to read %s: %w", path, err)
		}
		objects = append(objects, object)
	}
}

// Resource is the client of an object's kind, in its namespace.
func (c *ControlPlane) Resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	client, err := dynamic.NewForConfig(c.Config)
	if err != nil {
		return nil, err
	}
	resource, known := resources[object.GetKind()]
	if !known {
		return nil, fmt.Errorf("the tests cannot apply a %s", object.GetKind())
	}
	version, err := schema.ParseGroupVersion(object.GetAPIVersion())
	if err != nil {
		return nil, err
	}
	return client.Resource(version.WithResource(resource)).Namespace(object.GetNamespace()), nil
}

func (c *ControlPlane) apply(file string, dryRun ...string) error {
	objects, err := c.Manifest(file)
	if err != nil {
		return err
	}
	for _, object := range objects {
		client, err := c.Resource(object)
		if err != nil {
			return err
		}
		options := metav1.ApplyOptions{FieldManager: "e2e", DryRun: dryRun}
		if _, err := client.Apply(context.Background(), object.GetName(), object, options); err != nil {
			return fmt.Errorf("failed to apply %s `%s` of %s: %w", object.GetKind(), object.GetName(), file, err)
		}
	}
	return nil
}

// applyRBAC applies what every installation begins with.
func (c *ControlPlane) applyRBAC() error { return c.apply("rbac.yaml") }

// Apply applies a file of deploy/scheduler-extender until the test ends.
func (c *ControlPlane) Apply(t testing.TB, file string) {
	t.Helper()
	if err := c.apply(file); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		objects, err := c.Manifest(file)
		if err != nil {
			t.Fatal(err)
		}
		for _, object := range objects {
			client, err := c.Resource(object)
			if err == nil {
				err = client.Delete(context.Background(), object.GetName(), metav1.DeleteOptions{})
			}
			if err != nil && !apierrors.IsNotFound(err) {
				t.Errorf("failed to remove %s `%s`: %v", object.GetKind(), object.GetName(), err)
			}
		}
	})
}

// DryRun lets the API server judge a file of deploy/scheduler-extender, and changes nothing.
func (c *ControlPlane) DryRun(t testing.TB, file string) {
	t.Helper()
	if err := c.apply(file, metav1.DryRunAll); err != nil {
		t.Fatal(err)
	}
}
