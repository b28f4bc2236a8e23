package engine

import (
	"bufio"
	"bytes"
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"
	"time"

	cerrdefs "github.com/containerd/errdefs"
	"github.com/docker/docker/client"
)

// hijack posts to the engine and takes the connection over: what the engine
// sends from now on is read from out, never from the connection. Docker's client
// does the same, but waits for an engine that does not answer without end, and
// keeps the reason of a refusal to itself.
func (e *Engine) hijack(ctx context.Context, api *client.Client, path string, body any) (net.Conn, *bufio.Reader, error) {
	content, err := json.Marshal(body)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := patiently(ctx)
	defer cancel()
	conn, err := e.connect(ctx, api)
	if err != nil {
		return nil, nil, err
	}
	out := bufio.NewReaderSize(conn, chunk)
	quiet := atEnd(ctx, func() { conn.SetDeadline(past) })
	err = upgrade(ctx, api, path, content, conn, out)
	if quiet(); err != nil || ctx.Err() != nil {
		return nil, nil, errors.Join(context.Cause(ctx), err, conn.Close())
	}
	return conn, out, nil
}

// connect is api.Dialer, which under TLS waits without end too.
func (e *Engine) connect(ctx context.Context, api *client.Client) (net.Conn, error) {
	if !e.secure() {
		return api.Dialer()(ctx)
	}
	config, err := e.tls()
	if err != nil {
		return nil, err
	}
	return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", strings.TrimPrefix(api.DaemonHost(), "tcp://"))
}

func upgrade(ctx context.Context, api *client.Client, path string, content []byte, conn io.Writer, out *bufio.Reader) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://docker/v"+api.ClientVersion()+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header = http.Header{"Content-Type": {"application/json"}, "Connection": {"Upgrade"}, "Upgrade": {"tcp"}}
	if err := req.Write(conn); err != nil {
		return err
	}
	res, err := http.ReadResponse(out, req)
	if err == nil && res.StatusCode != http.StatusSwitchingProtocols {
		err = refused(res)
	}
	return err
}

// read is an answer of the engine of which Docker's client tells too little, or
// too much.
func (e *Engine) read(ctx context.Context, api *client.Client, path string) ([]byte, error) {
	scheme, host := "http", client.DummyHost
	if address, ok := strings.CutPrefix(api.DaemonHost(), "tcp://"); ok {
		host = address
		if e.secure() {
			scheme = "https"
		}
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, scheme+"://"+host+"/v"+api.ClientVersion()+path, nil)
	if err != nil {
		return nil, err
	}
	res, err := api.HTTPClient().Do(req)
	if err != nil {
		return nil, err
	}
	if res.StatusCode != http.StatusOK {
		return nil, refused(res)
	}
	defer res.Body.Close()
	var b bytes.Buffer
	_, err = b.ReadFrom(res.Body)
	return b.Bytes(), err
}

// past is a deadline that ends what is under way.
var past = time.Unix(1, 0)

// atEnd does something when ctx ends before the function that it returns is
// called, which returns when nothing of it runs any more.
func atEnd(ctx context.Context, do func()) (quiet func()) {
	done := make(chan struct{})
	stop := context.AfterFunc(ctx, func() { do(); close(done) })
	return sync.OnceFunc(func() {
		if !stop() {
			<-done
		}
	})
}

// refused reads why the engine does not hand its connection over.
func refused(res *http.Response) error {
	defer res.Body.Close()
	b, err := io.ReadAll(io.LimitReader(res.Body, 64<<10))
	if err != nil {
		return err
	}
	var said struct{ Message string }
	if json.Unmarshal(b, &said) != nil || said.Message == "" {
		said.Message = strings.TrimSpace(string(b))
	}
	var class error = cerrdefs.ErrInternal
	switch res.StatusCode {
	case http.StatusNotFound:
		class = cerrdefs.ErrNotFound
	case http.StatusConflict:
		class = cerrdefs.ErrConflict
	case http.StatusBadRequest:
		class = cerrdefs.ErrInvalidArgument
	}
	return answer{said.Message, class}
}

// answer is what the engine said, and which kind of answer that is.
type answer struct {
	text  string
	class error
}

func (a answer) Error() string { return fmt.Sprintf("Error response from daemon: %s", a.text) }
func (a answer) Unwrap() error { return a.class }
