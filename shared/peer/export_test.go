package peer

import (
	"context"
	"net"
	"net/url"
	"testing"
)

// ViaProxy connects through a proxy as the environment would have it.
func ViaProxy(proxy string, t *testing.T) Dialer {
	u, err := url.Parse(proxy)
	if err != nil {
		t.Fatal(err)
	}
	return func(ctx context.Context, _, address string) (net.Conn, error) { return dialVia(ctx, u, address) }
}
