package enginetest

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"fabric.center/cfc/shared/e2e/fleet"
)

// Registry is a registry of a test, behind a front that can hold layers back
// and ask for a password.
type Registry struct {
	// Addr begins the names of its images.
	Addr string

	mu             sync.Mutex
	held           chan struct{} // closed when layers may go on
	user, password string
}

// StartRegistry starts a registry that ends with the test.
func StartRegistry(tb testing.TB) *Registry {
	tb.Helper()
	path, err := exec.LookPath("docker-registry")
	if err != nil {
		tb.Fatalf("no registry: run shared/e2e/setup.sh docker, or leave it out by CFC_WITHOUT=docker: %v", err)
	}
	home := tb.TempDir()
	port, err := fleet.FreePort(tb.Context())
	if err != nil {
		tb.Fatal(err)
	}
	behind := fmt.Sprintf("127.0.0.1:%d", port)
	config := filepath.Join(home, "registry.yaml")
	text := "version: 0.1\nlog: {level: warn, accesslog: {disabled: true}}\nstorage:\n  filesystem: {rootdirectory: " + home + "/images}\n  delete: {enabled: true}\n" +
		"http: {addr: \"" + behind + "\", secret: for-this-test}\n"
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		tb.Fatal(err)
	}
	proc, err := fleet.Start(fleet.Command{Name: "registry", Path: path, Args: []string{"serve", config}, Home: home})
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { _ = proc.Kill() }) // it keeps nothing that anybody needs
	ctx, cancel := context.WithTimeout(tb.Context(), startWithin)
	defer cancel()
	if err := fleet.Poll(ctx, func() error { return answers(ctx, "http://"+behind+"/v2/") }); err != nil {
		tb.Fatalf("the registry does not start: %v\n%s", err, proc.Tail(20))
	}
	r := &Registry{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind})
	proxy.FlushInterval = -1
	proxy.ModifyResponse = r.slow
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, q *http.Request) {
		if !r.knows(q) {
			w.Header().Set("WWW-Authenticate", `Basic realm="test"`)
			http.Error(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}`, http.StatusUnauthorized)
			return
		}
		proxy.ServeHTTP(w, q)
	}))
	r.Addr = strings.TrimPrefix(front.URL, "http://")
	tb.Cleanup(func() {
		r.Release()
		front.CloseClientConnections()
		front.Close()
	})
	return r
}

func answers(ctx context.Context, address string) error {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(q)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("%s answers %s", address, resp.Status)
	}
	return nil
}

// Hold makes layers stop half-way from now on.
func (r *Registry) Hold() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held == nil {
		r.held = make(chan struct{})
	}
}

// Release lets them go on.
func (r *Registry) Release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.held != nil {
		close(r.held)
		r.held = nil
	}
}

// Require asks for a password from now on.
func (r *Registry) Require(user, password string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.user, r.password = user, password
}

func (r *Registry) knows(q *http.Request) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	user, password, _ := q.BasicAuth()
	return r.user == "" || user == r.user && password == r.password
}

func (r *Registry) slow(resp *http.Response) error {
	r.mu.Lock()
	held := r.held
	r.mu.Unlock()
	if held != nil && resp.Request.Method == http.MethodGet && strings.Contains(resp.Request.URL.Path, "/blobs/") && resp.ContentLength > 64<<10 {
		resp.Body = &heldBody{ReadCloser: resp.Body, left: resp.ContentLength / 2, gone: resp.Request.Context(), held: held}
	}
	return nil
}

// heldBody gives half of a layer, and the rest when it may.
type heldBody struct {
	io.ReadCloser
	left int64
	gone context.Context //nolint:containedctx // the request that the body answers
	held <-chan struct{}
}

func (b *heldBody) Read(p []byte) (int, error) {
	if b.left <= 0 {
		select {
		case <-b.held:
		case <-b.gone.Done():
			return 0, b.gone.Err()
		}
		return b.ReadCloser.Read(p)
	}
	n, err := b.ReadCloser.Read(p[:min(int64(len(p)), b.left)])
	b.left -= int64(n)
	return n, err
}
