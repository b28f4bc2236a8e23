package observe

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"errors"
	"strings"
	"sync"
	"time"

	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"go.uber.org/zap"
)

// Reasons for which a stream ends that no source has.
const (
	ReasonClosed  = "closed"
	ReasonExpired = "expired"
	ReasonAgent   = "agent-stopped"
	ReasonDenied  = "denied-by-host"
)

// Source is what a stream is fed by.
type Source interface {
	// Feed puts records into p until there are none any more, or ctx ends. It is
	// called once, even where the stream is not wanted any more, and leaves
	// nothing behind that runs.
	Feed(ctx context.Context, p *Pipe) End
}

// Limits bound streams; a zero one is the default.
type Limits struct {
	All      int           // streams at a time; 32
	PerUser  int           // of one user in a realm; 16
	Idle     time.Duration // after which a stream ends that nobody asks for; 2 minutes
	Handover time.Duration // after which another session of the user may have it; 5 seconds
}

func (l Limits) orDefaults() Limits {
	if l.All == 0 {
		l.All = 32
	}
	if l.PerUser == 0 {
		l.PerUser = 16
	}
	if l.Idle == 0 {
		l.Idle = 2 * time.Minute
	}
	if l.Handover == 0 {
		l.Handover = 5 * time.Second
	}
	return l
}

// Streams are the streams of an agent. They are there while Run runs.
type Streams struct {
	limits Limits
	log    *zap.Logger

	mu   sync.Mutex
	life context.Context // of Run; nil while it does not run
	all  map[string]*stream
	wg   sync.WaitGroup
}

type stream struct {
	id, kind string
	owner    catalog.Caller
	source   Source
	pipe     *Pipe
	stop     context.CancelCauseFunc
	fed      chan struct{} // closed when Feed has returned

	users int       // calls under way
	asked time.Time // when the last one ended
	loose time.Time // from when on another session may have it
}

// NewStreams makes an empty table.
func NewStreams(l Limits, log *zap.Logger) *Streams {
	if log == nil {
		log = zap.NewNop()
	}
	return &Streams{limits: l.orDefaults(), log: log, all: map[string]*stream{}}
}

// Run lets streams be opened until ctx ends, ends those that nobody asks for,
// and returns when all have ended.
func (s *Streams) Run(ctx context.Context) error {
	life, end := context.WithCancelCause(ctx)
	defer end(nil)
	s.mu.Lock()
	s.life = life
	s.mu.Unlock()
	for ctx.Err() == nil {
		timer := time.NewTimer(s.expire(time.Now()))
		select {
		case <-timer.C:
		case <-ctx.Done():
		}
		timer.Stop()
	}
	s.mu.Lock()
	s.life = nil
	clear(s.all)
	s.mu.Unlock()
	s.wg.Wait()
	return nil
}

// expire ends what nobody has asked for long enough, and says how long there
// is nothing to do: what is asked for now cannot expire before that.
func (s *Streams) expire(now time.Time) time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	wait := s.limits.Idle
	for id, st := range s.all {
		if st.users > 0 {
			continue
		}
		left := st.asked.Add(s.limits.Idle).Sub(now)
		if left > 0 {
			wait = min(wait, left)
			continue
		}
		delete(s.all, id)
		st.stop(errors.New(ReasonExpired))
		s.log.Info("stream ended: nobody asks for it", zap.String("kind", st.kind), zap.String("caller", st.owner.AuthID))
	}
	return wait
}

// Open opens a stream for the caller: begin makes its source, which is fed until
// it ends or the stream does. A source that was made is always fed.
func (s *Streams) Open(ctx context.Context, caller catalog.Caller, kind string, begin func(context.Context) (Source, error)) (id string, err error) {
	st := &stream{id: newID(), kind: kind, owner: caller, pipe: NewPipe(PipeBytes), fed: make(chan struct{}), users: 1}
	life, err := s.enter(st)
	if err != nil {
		return "", err
	}
	defer s.wg.Done()
	defer s.leave(st, nil)
	source, err := begin(ctx)
	if err != nil {
		s.remove(st)
		return "", err
	}
	s.mu.Lock()
	st.source = source
	s.mu.Unlock()
	s.wg.Go(func() { st.feed(life) })
	return st.id, nil
}

// enter finds room for a stream, so that no source is made in vain. Whoever has
// entered says wg.Done.
func (s *Streams) enter(st *stream) (context.Context, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.life == nil {
		return nil, cfcerr.New(cfcerr.Unavailable, "cannot open a stream: the agent is starting or stopping").With("part", "streams").With("reason", "starting or stopping")
	}
	own := 0
	for _, other := range s.all {
		if sameUser(other.owner, st.owner) {
			own++
		}
	}
	switch {
	case own >= s.limits.PerUser:
		return nil, cfcerr.New(cfcerr.LimitExceeded, "cannot open a stream: %s has %d open on this node already; close one", st.owner.AuthID, own).With("limit", s.limits.PerUser)
	case len(s.all) >= s.limits.All:
		return nil, cfcerr.New(cfcerr.LimitExceeded, "cannot open a stream: %d are open on this node already", len(s.all)).With("limit", s.limits.All)
	}
	life, stop := context.WithCancelCause(s.life)
	st.stop = stop
	s.all[st.id] = st
	s.wg.Add(1)
	return life, nil
}

func (st *stream) feed(life context.Context) {
	defer close(st.fed)
	defer st.stop(nil)
	end := st.source.Feed(life, st.pipe)
	if life.Err() != nil { // whatever the source says of it
		cause := context.Cause(life)
		switch {
		case errors.As(cause, &end.Err):
			end.Reason = ReasonDenied
		case errors.Is(cause, context.Canceled):
			end.Reason = ReasonAgent
		default:
			end.Reason = cause.Error()
		}
	}
	st.pipe.Finish(end)
}

func (s *Streams) remove(st *stream) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.all, st.id)
	st.stop(errors.New(ReasonClosed))
}

// use finds a stream of the caller's; leave is to be called once. Whose it is
// not learns no more than that there is none.
func (s *Streams) use(caller catalog.Caller, kind, id string) (*stream, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st := s.all[id]
	if st == nil || st.kind != kind || !sameUser(st.owner, caller) || st.source == nil {
		return nil, cfcerr.New(cfcerr.NoSuchObject, "cannot use stream %s: the caller has no such stream, or it has ended", id).With("stream", id)
	}
	if st.owner.Session != caller.Session {
		if st.users > 0 || time.Now().Before(st.loose) {
			return nil, cfcerr.New(cfcerr.Busy, "cannot use stream %s: it is of another session of %s, which has not been gone for %s", id, caller.AuthID, s.limits.Handover).With("stream", id).With("after", 1)
		}
		st.owner = caller
	}
	st.users++
	return st, nil
}

// leave ends a use. One that was canceled means that the session is gone, or
// wants no more of the stream.
func (s *Streams) leave(st *stream, canceled error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	st.users--
	st.asked = time.Now()
	st.loose = st.asked.Add(s.limits.Handover)
	if errors.Is(canceled, context.Canceled) {
		st.loose = st.asked
	}
}

// Read gives what comes from number from on, and waits for it so long at most.
func (s *Streams) Read(ctx context.Context, caller catalog.Caller, kind, id string, from int64, max int, wait time.Duration) (Batch, error) {
	st, err := s.use(caller, kind, id)
	if err != nil {
		return Batch{}, err
	}
	defer func() { s.leave(st, ctx.Err()) }()
	waiting, cancel := context.WithTimeout(ctx, wait)
	defer cancel()
	b, err := st.pipe.Read(waiting, from, max)
	if err == nil && len(b.Records) == 0 && b.End == nil && ctx.Err() != nil {
		err = ctx.Err()
	}
	return b, err
}

// With does something with the source of a stream of the caller's.
func (s *Streams) With(ctx context.Context, caller catalog.Caller, kind, id string, do func(Source) error) error {
	st, err := s.use(caller, kind, id)
	if err != nil {
		return err
	}
	defer func() { s.leave(st, ctx.Err()) }()
	return do(st.source)
}

// Close ends a stream, waits until its source has, and tells how it ended.
func (s *Streams) Close(ctx context.Context, caller catalog.Caller, kind, id string) (End, error) {
	st, err := s.use(caller, kind, id)
	if err != nil {
		return End{}, err
	}
	defer s.leave(st, nil)
	s.remove(st)
	select {
	case <-st.fed:
		return *st.pipe.end, nil
	case <-ctx.Done():
		return End{}, ctx.Err()
	}
}

// Review ends the streams that deny gives a reason for, which their readers are
// told. It is called with the table locked.
func (s *Streams) Review(deny func(kind string, owner catalog.Caller, source Source) *cfcerr.Error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.all {
		if st.source == nil { // is being opened, and reviewed when it is
			continue
		}
		if why := deny(st.kind, st.owner, st.source); why != nil {
			st.stop(why)
			s.log.Info("stream ended: it is not allowed any more", zap.String("kind", st.kind), zap.String("caller", st.owner.AuthID), zap.Error(why))
		}
	}
}

// Count is how many streams there are.
func (s *Streams) Count() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.all)
}

func sameUser(a, b catalog.Caller) bool { return a.AuthID == b.AuthID && a.Realm == b.Realm }

// newID is a name that nobody guesses.
func newID() string {
	b := make([]byte, 16)
	rand.Read(b)
	return "s_" + strings.ToLower(base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(b))
}
