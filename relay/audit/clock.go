package audit

import "time"

// utc is the clock of the lines: audit times are UTC, whatever the machine's zone.
type utc struct{}

func (utc) Now() time.Time                         { return time.Now().UTC() }
func (utc) NewTicker(d time.Duration) *time.Ticker { return time.NewTicker(d) }
