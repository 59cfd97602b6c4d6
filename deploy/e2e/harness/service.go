package harness

import (
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"testing"
	"time"
)

// How often a Service asks its replicas whether they are ready; a kubelet asks every ten seconds by default.
const probeEvery = 200 * time.Millisecond

// Service is what kube-proxy makes of a Service: one address, whose new connections go to any replica that is ready.
// Connections that stand are left alone.
type Service struct {
	URL      string
	mutex    sync.Mutex
	replicas map[string]bool
	client   *http.Client
	// refused counts connections that came while no replica was ready.
	refused int
}

// OpenService listens on a free port. It is closed when the test ends.
func (c *ControlPlane) OpenService(t testing.TB) *Service {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	service := &Service{URL: "https://" + listener.Addr().String(), replicas: map[string]bool{}, client: c.HTTPS()}
	done := make(chan struct{})
	t.Cleanup(func() {
		close(done)
		_ = listener.Close()
	})
	go service.probe(done)
	go func() {
		for {
			connection, err := listener.Accept()
			if err != nil {
				return
			}
			go service.connect(connection)
		}
	}()
	return service
}

// Add takes in a replica by its host and port.
func (s *Service) Add(address string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	s.replicas[address] = false
}

// Remove takes a replica out: no new connection goes there.
func (s *Service) Remove(address string) {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	delete(s.replicas, address)
}

// Ready is how many replicas are.
func (s *Service) Ready() int {
	return len(s.ready())
}

// Refused counts connections that came while no replica was ready.
func (s *Service) Refused() int {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	return s.refused
}

func (s *Service) ready() []string {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	var all []string
	for address, ready := range s.replicas {
		if ready {
			all = append(all, address)
		}
	}
	return all
}

func (s *Service) probe(done <-chan struct{}) {
	for {
		s.mutex.Lock()
		var all []string
		for address := range s.replicas {
			all = append(all, address)
		}
		s.mutex.Unlock()
		for _, address := range all {
			_, err := Fetch(s.client, "https://"+address+"/readyz")
			s.mutex.Lock()
			if _, still := s.replicas[address]; still {
				s.replicas[address] = err == nil
			}
			s.mutex.Unlock()
		}
		select {
		case <-done:
			return
		case <-time.After(probeEvery):
		}
	}
}

func (s *Service) connect(client net.Conn) {
	defer client.Close()
	ready := s.ready()
	if len(ready) == 0 {
		s.mutex.Lock()
		s.refused++
		s.mutex.Unlock()
		return
	}
	replica, err := net.Dial("tcp", ready[rand.IntN(len(ready))])
	if err != nil {
		return
	}
	defer replica.Close()
	ended := make(chan struct{}, 2)
	pass := func(to, from net.Conn) {
		// Either side may hang up, which ends both.
		_, _ = io.Copy(to, from)
		ended <- struct{}{}
	}
	go pass(replica, client)
	go pass(client, replica)
	<-ended
}
