package uplink

import "time"

// State is where the uplink stands.
type State string

// The states.
const (
	Unpaired   State = "unpaired"
	Connecting State = "connecting"
	Connected  State = "connected"
	Waiting    State = "waiting" // for the next attempt
	Stopped    State = "stopped"
)

// Status is what the uplink can tell about itself.
type Status struct {
	State  State     `json:"state"`
	Since  time.Time `json:"since"`
	Relay  string    `json:"relay,omitempty"`
	Realm  string    `json:"realm,omitempty"`
	NodeID string    `json:"node_id,omitempty"`
	OID    string    `json:"oid,omitempty"`

	Failures  int       `json:"failures"` // since the last session that lasted
	LastError *Failure  `json:"last_error"`
	NextTry   time.Time `json:"next_try,omitzero"`

	EventsWaiting int    `json:"events_waiting"`
	EventsDropped uint64 `json:"events_dropped"`
}

// Failure is why there is, or was, no session.
type Failure struct {
	Text string    `json:"text"`
	URI  string    `json:"uri,omitempty"` // the relay's reason
	At   time.Time `json:"at"`
}

// Status is the state now.
func (u *Uplink) Status() Status {
	u.mu.Lock()
	s := u.status
	u.mu.Unlock()
	s.EventsWaiting, s.EventsDropped = u.ring.count()
	return s
}

func (u *Uplink) set(change func(*Status)) {
	u.mu.Lock()
	defer u.mu.Unlock()
	change(&u.status)
}
