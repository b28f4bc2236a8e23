package server

import (
	"fmt"
	"net"
	"net/netip"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"fabric.center/cfc/shared/config"
	"fabric.center/cfc/shared/logging"
)

// Where a relay keeps its things unless it is told otherwise.
const (
	DefaultFile = "/etc/cfc/relay.yaml"
	EnvPrefix   = "CFC_RELAY_"

	plainListen = "127.0.0.1:8080"
	tlsListen   = ":8443"
)

//go:generate go test -count=1 -run ^TestPage$ . -update

// Config is relay.yaml. Its keys, variables and flags are listed in
// shared/docs/CONFIG.md.
type Config struct {
	Data    string         `yaml:"data" default:"/var/lib/cfc-relay" doc:"directory of the relay's state; made if missing, for its user alone (0700)"`
	Listen  string         `yaml:"listen" doc:"host:port where users and agents join; 127.0.0.1:8080 without a certificate, :8443 with one"`
	Plain   bool           `yaml:"insecure_plaintext" doc:"allow plain text beyond loopback, for example behind a proxy that does TLS on another host; tokens are then taken from loopback only"`
	TLS     TLS            `yaml:"tls"`
	Origins []string       `yaml:"origins" doc:"further origins, such as https://cfc.example.com, whose pages may join from a browser; the relay's own always may"`
	Monitor Monitor        `yaml:"monitor"`
	Limits  Limits         `yaml:"limits"`
	Log     logging.Config `yaml:"log"`
	Audit   string         `yaml:"audit" doc:"file of the audit log; audit.log in the data directory if empty. Refused log-ins go to one of their own beside it, audit-refused.log"`
	Stop    time.Duration  `yaml:"stop_timeout" default:"10s" min:"1s" max:"5m" doc:"how long an orderly stop may take"`

	// Version is the program's, for status and metrics.
	Version string `yaml:"-"`
}

// TLS names the certificate. Both files are read again when they change.
type TLS struct {
	Certificate string `yaml:"certificate" doc:"PEM file of the certificate and its chain; read again when it changes"`
	Key         string `yaml:"key" doc:"PEM file of the certificate's private key; read again when it changes"`
	MinVersion  string `yaml:"min_version" default:"1.2" enum:"1.2|1.3" doc:"oldest version of TLS; channel binding needs 1.3"`
}

// Monitor is the listener for health and metrics.
type Monitor struct {
	Listen string `yaml:"listen" default:"127.0.0.1:9090" doc:"host:port of /healthz, /readyz and /metrics; empty for none"`
}

// Limits bound what strangers and sessions can take.
type Limits struct {
	HalfOpen           int `yaml:"half_open" default:"1000" min:"1" max:"100000" doc:"connections that have not logged in yet, in all"`
	HalfOpenPerAddress int `yaml:"half_open_per_address" default:"100" min:"1" max:"100000" doc:"the same from one address; a whole site may sit behind one"`
	FailuresPerKey     int `yaml:"failed_logins_per_key" default:"10" min:"1" doc:"failed log-ins a minute with one key; a good one is let in all the same"`
	FailuresPerAddress int `yaml:"failed_logins_per_address" default:"600" min:"1" doc:"failed log-ins a minute from one address"`
	Calls              int `yaml:"calls_per_session" default:"256" min:"1" max:"65536" doc:"calls in flight of one session"`
}

// Encrypted reports whether the relay has a certificate.
func (c Config) Encrypted() bool { return c.TLS.Certificate != "" }

// Address is where the relay listens.
func (c Config) Address() string {
	switch {
	case c.Listen != "":
		return c.Listen
	case c.Encrypted():
		return tlsListen
	}
	return plainListen
}

// StoreFile is the relay's state.
func (c Config) StoreFile() string { return filepath.Join(c.Data, "relay.db") }

// AuditFile is the audit log.
func (c Config) AuditFile() string {
	if c.Audit != "" {
		return c.Audit
	}
	return filepath.Join(c.Data, "audit.log")
}

// OwnerTokenFile has the token whose claimer owns the relay, as long as nobody
// does.
func (c Config) OwnerTokenFile() string { return filepath.Join(c.Data, "first-owner.token") }

// Validate finds what the keys' tags cannot say.
func (c Config) Validate() []config.Fault {
	var faults []config.Fault
	fault := func(key, format string, args ...any) { faults = append(faults, config.Faultf(key, format, args...)) }
	if c.Data == "" {
		fault("data", "expected a directory, found nothing")
	}
	if err := checkAddress(c.Address()); err != "" {
		fault("listen", "%s", err)
	} else if !c.Encrypted() && !c.Plain && !loopback(c.Address()) {
		fault("listen", "%s", plainRefusal(c.Address()))
	}
	if err := checkAddress(c.Monitor.Listen); c.Monitor.Listen != "" && err != "" {
		fault("monitor.listen", "%s", err)
	}
	if c.Limits.HalfOpenPerAddress > c.Limits.HalfOpen {
		fault("limits.half_open_per_address", "expected at most limits.half_open, which is %d, found %d", c.Limits.HalfOpen, c.Limits.HalfOpenPerAddress)
	}
	for _, o := range c.Origins {
		if u, err := url.Parse(o); err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" || u.Path != "" || u.RawQuery != "" || u.User != nil {
			fault("origins", "expected scheme and host, such as https://cfc.example.com, found %q", o)
		}
	}
	return faults
}

// Validate finds what is wrong with the certificate's files, so that
// check-config tells it before a restart does.
func (t TLS) Validate() []config.Fault {
	if t.Certificate == "" && t.Key == "" {
		return nil
	}
	var faults []config.Fault
	for _, f := range []struct{ key, path, other string }{{"certificate", t.Certificate, "key"}, {"key", t.Key, "certificate"}} {
		if f.path == "" {
			faults = append(faults, config.Faultf(f.other, "certificate and key come together: tls.%s is missing", f.key))
		} else if _, err := os.Stat(f.path); err != nil {
			faults = append(faults, config.Faultf(f.key, "cannot read it: %v", err))
		}
	}
	if len(faults) == 0 {
		if _, err := loadCertificate(t); err != nil {
			faults = append(faults, config.Faultf("certificate", "%v", err))
		}
	}
	return faults
}

func plainRefusal(address string) string {
	return "cannot listen on " + address + " without a certificate: keys to a whole fleet would be used in plain text; " +
		"give tls.certificate and tls.key, or insecure_plaintext: true where something else encrypts"
}

func checkAddress(s string) string {
	if _, port, err := net.SplitHostPort(s); err == nil {
		if _, err := strconv.ParseUint(port, 10, 16); err == nil {
			return ""
		}
	}
	return fmt.Sprintf("expected host:port, found %q", s)
}

// loopback reports whether only this machine can reach an address. A name
// other than localhost might mean anything.
func loopback(address string) bool {
	host, _, err := net.SplitHostPort(address)
	if err != nil {
		return false
	}
	ip, err := netip.ParseAddr(strings.Trim(host, "[]"))
	return host == "localhost" || err == nil && ip.Unmap().IsLoopback()
}
