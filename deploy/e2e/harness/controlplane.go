package harness

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/tools/clientcmd/api"
)

// ControlPlane is a real etcd, a real kube-apiserver with RBAC, and kwok for the life of nodes and pods.
type ControlPlane struct {
	// Folder has all logs, certificates and kubeconfigs.
	Folder string
	// Client may do everything.
	Client    *kubernetes.Clientset
	Config    *rest.Config
	Authority *Authority
	// APIServer is its process, for tests that cut the watch.
	APIServer *Process
	// Repository is the root of the checkout.
	Repository string
	binaries   string
	url        string
	processes  []*Process
	restart    func() (*Process, error)
}

// Start starts everything below `folder`, on free ports of 127.0.0.1.
func Start(folder string) (*ControlPlane, error) {
	repository, err := filepath.Abs(filepath.Join("..", ".."))
	if err != nil {
		return nil, err
	}
	binaries, err := setup(repository)
	if err != nil {
		return nil, err
	}
	authority, err := NewAuthority("berth-e2e")
	if err != nil {
		return nil, err
	}
	plane := &ControlPlane{Folder: folder, Authority: authority, Repository: repository, binaries: binaries}
	for _, step := range []func() error{plane.startEtcdAndAPIServer, plane.startKwok, plane.applyRBAC} {
		if err := step(); err != nil {
			plane.Stop()
			return nil, err
		}
	}
	return plane, nil
}

// Stop stops all, in the reverse order.
func (c *ControlPlane) Stop() {
	for at := len(c.processes) - 1; at >= 0; at-- {
		c.processes[at].Stop()
	}
}

func (c *ControlPlane) startEtcdAndAPIServer() error {
	clients, err := freePort()
	if err != nil {
		return err
	}
	peers, err := freePort()
	if err != nil {
		return err
	}
	etcdURL := fmt.Sprintf("http://127.0.0.1:%d", clients)
	peerURL := fmt.Sprintf("http://127.0.0.1:%d", peers)
	// The store lives as long as the test, so nothing is flushed to disk.
	etcd, err := c.launch("etcd", nil,
		"--data-dir", filepath.Join(c.Folder, "etcd"), "--unsafe-no-fsync", "--log-level", "warn",
		"--quota-backend-bytes", "4294967296",
		"--listen-client-urls", etcdURL, "--advertise-client-urls", etcdURL,
		"--listen-peer-urls", peerURL, "--initial-advertise-peer-urls", peerURL, "--initial-cluster", "default="+peerURL)
	if err != nil {
		return err
	}
	if err := etcd.ready(func() error { return answers(etcdURL + "/health") }); err != nil {
		return err
	}
	port, err := freePort()
	if err != nil {
		return err
	}
	c.url = fmt.Sprintf("https://127.0.0.1:%d", port)
	serving, err := c.Authority.Issue("kube-apiserver", nil, Tomorrow())
	if err != nil {
		return err
	}
	certificate, key, err := serving.Write(c.Folder, "kube-apiserver")
	if err != nil {
		return err
	}
	authority := c.AuthorityFile()
	if err := os.WriteFile(authority, c.Authority.PEM, 0o644); err != nil {
		return err
	}
	tokens, err := tokenKey(c.Folder)
	if err != nil {
		return err
	}
	c.restart = func() (*Process, error) {
		return launch(c.Folder, "kube-apiserver", filepath.Join(c.binaries, "kube-apiserver"), nil,
			"--etcd-servers", etcdURL, "--bind-address", "127.0.0.1", "--secure-port", fmt.Sprint(port),
			"--tls-cert-file", certificate, "--tls-private-key-file", key, "--client-ca-file", authority,
			"--authorization-mode", "RBAC", "--service-cluster-ip-range", "10.96.0.0/16",
			"--service-account-issuer", "https://berth.e2e", "--service-account-key-file", tokens,
			"--service-account-signing-key-file", tokens,
			// No controller manager runs, which would take the taints of new nodes away again.
			"--disable-admission-plugins", "TaintNodesByCondition")
	}
	if c.APIServer, err = c.restart(); err != nil {
		return err
	}
	c.processes = append(c.processes, c.APIServer)
	if c.Config, err = c.Kubeconfig("admin", []string{"system:masters"}); err != nil {
		return err
	}
	c.Config.QPS, c.Config.Burst = 2000, 4000
	if c.Client, err = kubernetes.NewForConfig(c.Config); err != nil {
		return err
	}
	return c.APIServer.ready(c.healthy)
}

// AuthorityFile is the PEM file of the authority that signs all certificates.
func (c *ControlPlane) AuthorityFile() string { return filepath.Join(c.Folder, "ca.crt") }

func (c *ControlPlane) healthy() error {
	_, err := c.Client.Discovery().RESTClient().Get().AbsPath("/readyz").DoRaw(context.Background())
	return err
}

// RestartAPIServer ends kube-apiserver, so that every watch is cut, runs `meanwhile`, and starts it again.
func (c *ControlPlane) RestartAPIServer(meanwhile func()) error {
	c.APIServer.Kill()
	meanwhile()
	process, err := c.restart()
	if err != nil {
		return err
	}
	for at, old := range c.processes {
		if old == c.APIServer {
			c.processes[at] = process
		}
	}
	c.APIServer = process
	return process.ready(c.healthy)
}

func (c *ControlPlane) startKwok() error {
	port, err := freePort()
	if err != nil {
		return err
	}
	address := fmt.Sprintf("127.0.0.1:%d", port)
	kwok, err := c.launch("kwok", nil,
		"--kubeconfig", filepath.Join(c.Folder, "admin.kubeconfig"),
		"--config", filepath.Join(filepath.Dir(c.binaries), "stages.yaml"), "--server-address", address,
		"--manage-all-nodes", "--node-lease-duration-seconds", "0", "--node-ip", "127.0.0.1")
	if err != nil {
		return err
	}
	return kwok.ready(func() error { return answers("http://" + address + "/healthz") })
}

func (c *ControlPlane) launch(program string, environment []string, arguments ...string) (*Process, error) {
	process, err := launch(c.Folder, program, filepath.Join(c.binaries, program), environment, arguments...)
	if err == nil {
		c.processes = append(c.processes, process)
	}
	return process, err
}

// Kubeconfig writes `<name>.kubeconfig` with a client certificate of a user.
func (c *ControlPlane) Kubeconfig(user string, groups []string) (*rest.Config, error) {
	pair, err := c.Authority.Issue(user, groups, Tomorrow())
	if err != nil {
		return nil, err
	}
	return c.writeKubeconfig(user, &api.AuthInfo{ClientCertificateData: pair.Certificate, ClientKeyData: pair.Key})
}

// TokenKubeconfig writes a kubeconfig with a token of a service account, which RBAC holds to its role.
func (c *ControlPlane) TokenKubeconfig(namespace, account string) (string, error) {
	request, err := c.Client.CoreV1().ServiceAccounts(namespace).
		CreateToken(context.Background(), account, tokenRequest(), metav1.CreateOptions{})
	if err != nil {
		return "", fmt.Errorf("no token for %s/%s: %w", namespace, account, err)
	}
	_, err = c.writeKubeconfig(account, &api.AuthInfo{Token: request.Status.Token})
	return filepath.Join(c.Folder, account+".kubeconfig"), err
}

func (c *ControlPlane) writeKubeconfig(name string, user *api.AuthInfo) (*rest.Config, error) {
	config := api.NewConfig()
	config.Clusters["e2e"] = &api.Cluster{Server: c.url, CertificateAuthorityData: c.Authority.PEM}
	config.AuthInfos[name] = user
	config.Contexts["e2e"] = &api.Context{Cluster: "e2e", AuthInfo: name}
	config.CurrentContext = "e2e"
	path := filepath.Join(c.Folder, filepath.Base(name)+".kubeconfig")
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return nil, err
	}
	return clientcmd.BuildConfigFromFlags("", path)
}

// tokenKey writes the key that signs tokens of service accounts.
func tokenKey(folder string) (string, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return "", err
	}
	der, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		return "", err
	}
	path := filepath.Join(folder, "tokens.key")
	return path, os.WriteFile(path, pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der}), 0o600)
}

// Namespace makes one with the service account that a controller manager would put there.
func (c *ControlPlane) Namespace(name string) error {
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	if _, err := c.Client.CoreV1().Namespaces().Create(context.Background(), namespace, metav1.CreateOptions{}); err != nil {
		return err
	}
	account := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Name: "default"}}
	_, err := c.Client.CoreV1().ServiceAccounts(name).Create(context.Background(), account, metav1.CreateOptions{})
	return err
}
