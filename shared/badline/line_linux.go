package badline

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// Near is where to listen, and Far where to connect to (RFC 5737).
const (
	Near = "192.0.2.1"
	Far  = "192.0.2.2"
)

// Line is how packets fare, in each direction alike.
type Line struct {
	Delay time.Duration // of each packet
	Rate  int           // bytes a second, 0 for no bound
	Queue int           // bytes that wait for their turn, at most; what comes then is lost
	Lost  func() bool   // whether the next one is lost besides; nil for no
}

// Share loses that share of packets, the same ones each time.
func Share(loss float64) func() bool {
	dice := rand.New(rand.NewPCG(1, 2))
	return func() bool { return dice.Float64() < loss }
}

const mtu = 1400

// Start lays the line until the test ends. It is for who is Within.
func (l Line) Start(t testing.TB) {
	t.Helper()
	stop, err := l.Lay()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(stop)
}

// Lay lays the line until stop is called.
func (l Line) Lay() (stop func(), err error) {
	tun, err := device()
	if err != nil {
		return nil, fmt.Errorf("cannot lay a line: %w", err)
	}
	c := &carrier{line: l, tun: tun}
	c.all.Go(c.run)
	return func() {
		tun.Close()
		c.all.Wait()
	}, nil
}

// Server is for h, and is to be started, at Near.
func Server(t testing.TB, h http.Handler) *httptest.Server {
	t.Helper()
	var lc net.ListenConfig
	l, err := lc.Listen(t.Context(), "tcp", Near+":0")
	if err != nil {
		t.Fatal(err)
	}
	srv := httptest.NewUnstartedServer(h)
	srv.Listener.Close()
	srv.Listener = l
	return srv
}

// FarURL leads over the line to what near leads to directly.
func FarURL(near string) string { return strings.Replace(near, "://"+Near+":", "://"+Far+":", 1) }

// carrier passes packets on.
type carrier struct {
	line Line
	tun  *os.File
	all  sync.WaitGroup
	free [2]time.Time // when the line can take the next packet, by direction
}

// packet is on its way.
type packet struct {
	data []byte
	due  time.Time
}

func (c *carrier) run() {
	var ways [2]chan packet
	for i := range ways {
		ways[i] = make(chan packet, 1<<16) // more than fit on the line
		c.all.Go(func() { c.deliver(ways[i]) })
		defer close(ways[i])
	}
	for b := make([]byte, mtu); ; {
		n, err := c.tun.Read(b)
		if err != nil {
			return
		}
		if n < 20 || b[0]>>4 != 4 {
			continue
		}
		// Who has connected has the ephemeral port; what it sends is one direction.
		p := append([]byte(nil), b[:n]...)
		way := direction(p)
		due, carried := c.schedule(way, n)
		if !carried || c.line.Lost != nil && c.line.Lost() {
			continue
		}
		exchange(p)
		ways[way] <- packet{p, due}
	}
}

// schedule says when a packet arrives, if there is room for it.
func (c *carrier) schedule(way, n int) (due time.Time, carried bool) {
	now := time.Now()
	if c.line.Rate == 0 {
		return now.Add(c.line.Delay), true
	}
	begins := c.free[way]
	if begins.Before(now) {
		begins = now
	}
	if waits := int(begins.Sub(now).Seconds() * float64(c.line.Rate)); waits > c.line.Queue {
		return now, false
	}
	c.free[way] = begins.Add(time.Duration(n) * time.Second / time.Duration(c.line.Rate))
	return c.free[way].Add(c.line.Delay), true
}

func (c *carrier) deliver(way <-chan packet) {
	for p := range way {
		time.Sleep(time.Until(p.due))
		_, _ = c.tun.Write(p.data) // a packet that cannot be written is one more that is lost
	}
}

// direction tells apart by ports what goes to and what comes from a listener.
func direction(p []byte) int {
	head := int(p[0]&0x0f) * 4
	if len(p) < head+4 {
		return 0
	}
	from, to := int(p[head])<<8|int(p[head+1]), int(p[head+2])<<8|int(p[head+3])
	if from < to {
		return 1
	}
	return 0
}

// exchange swaps source and destination, to which no checksum objects.
func exchange(p []byte) {
	for i := 12; i < 16; i++ {
		p[i], p[i+4] = p[i+4], p[i]
	}
}

// device makes and raises a TUN device at Near, and the loopback.
func device() (tun *os.File, err error) {
	if os.Getenv(inside) == "" {
		return nil, errors.New("this is the machine's own network")
	}
	fd, err := unix.Open("/dev/net/tun", unix.O_RDWR|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("/dev/net/tun: %w", err)
	}
	const name = "line0"
	r, err := unix.NewIfreq(name)
	if err == nil {
		r.SetUint16(unix.IFF_TUN | unix.IFF_NO_PI)
		err = unix.IoctlIfreq(fd, unix.TUNSETIFF, r)
	}
	if err == nil {
		err = raise(name)
	}
	if err == nil { // by losses, as most hosts have it, and in the way that every kernel has
		err = os.WriteFile("/proc/sys/net/ipv4/tcp_congestion_control", []byte("reno"), 0)
	}
	if err != nil {
		return nil, errors.Join(err, unix.Close(fd))
	}
	return os.NewFile(uintptr(fd), "/dev/net/tun"), nil
}

// raise gives the device its address and has it and the loopback up.
func raise(name string) error {
	s, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer unix.Close(s)
	for _, step := range []struct {
		device string
		what   uint
		set    func(r *unix.Ifreq) error
	}{
		{name, unix.SIOCSIFADDR, func(r *unix.Ifreq) error { return r.SetInet4Addr(net.ParseIP(Near).To4()) }},
		{name, unix.SIOCSIFNETMASK, func(r *unix.Ifreq) error { return r.SetInet4Addr([]byte{255, 255, 255, 0}) }},
		{name, unix.SIOCSIFMTU, func(r *unix.Ifreq) error { r.SetUint32(mtu); return nil }},
		{name, unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
		{"lo", unix.SIOCSIFFLAGS, func(r *unix.Ifreq) error { r.SetUint16(unix.IFF_UP | unix.IFF_RUNNING); return nil }},
	} {
		r, err := unix.NewIfreq(step.device)
		if err == nil {
			err = step.set(r)
		}
		if err == nil {
			err = unix.IoctlIfreq(s, step.what, r)
		}
		if err != nil {
			return fmt.Errorf("%s: %w", step.device, err)
		}
	}
	return nil
}
