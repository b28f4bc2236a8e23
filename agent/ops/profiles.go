package ops

import (
	"context"
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"sync"
	"time"

	"fabric.center/cfc/agent/profile"
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
	"fabric.center/cfc/shared/wire"
)

// Bounds of profiles: a profile's time, how many are made at once, how many are
// kept and how long.
const (
	mostRuntime  = 300
	mostProfiles = 4
	keptProfiles = 8
	keptFor      = time.Hour
)

// Sampler looks at processes; profile.Sampler is one.
type Sampler interface {
	Version(ctx context.Context) (string, error)
	Sample(ctx context.Context, pid int, runtime time.Duration) (profile.Result, error)
}

// profiles are those that are being made and those that were.
type profiles struct {
	jobs chan func(context.Context) // taken by Run

	mu   sync.Mutex
	all  map[string]*catalog.Profile
	ends map[string]time.Time // of those that are finished
	// files are for speedscope, as they were written: read, one takes many
	// times the memory.
	files map[string][]byte
}

func newProfiles() *profiles {
	return &profiles{jobs: make(chan func(context.Context), mostProfiles), all: map[string]*catalog.Profile{}, ends: map[string]time.Time{}, files: map[string][]byte{}}
}

// run makes profiles until ctx ends.
func (p *profiles) run(ctx context.Context) {
	var wg sync.WaitGroup
	defer wg.Wait()
	for {
		select {
		case job := <-p.jobs:
			wg.Go(func() { job(ctx) })
		case <-ctx.Done():
			return
		}
	}
}

// add enters a profile that is about to be made, if there may be one.
func (p *profiles) add(x catalog.Profile) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	running := 0
	for _, old := range p.all {
		if old.Status != statusRunning {
			continue
		}
		if running++; old.WorkerID == x.WorkerID {
			return cfcerr.New(cfcerr.AlreadyRunning, "cannot profile worker %s: profile %s of it is being made", x.WorkerID, old.ID).With("profile_id", old.ID)
		}
	}
	if running >= mostProfiles {
		return cfcerr.New(cfcerr.LimitExceeded, "cannot profile worker %s: %d profiles are being made", x.WorkerID, running).With("limit", mostProfiles)
	}
	p.forget(keptProfiles - 1)
	p.all[x.ID] = &x
	return nil
}

// forget drops what is too old, and all but the newest of what has ended.
func (p *profiles) forget(most int) {
	ended := slices.SortedFunc(maps.Keys(p.ends), func(a, b string) int { return p.ends[a].Compare(p.ends[b]) })
	for i, id := range ended {
		if time.Since(p.ends[id]) > keptFor || len(ended)-i > most {
			delete(p.all, id)
			delete(p.ends, id)
			delete(p.files, id)
		}
	}
}

// finish keeps what has come of a profile.
func (p *profiles) finish(id string, r profile.Result, err error) catalog.Profile {
	p.mu.Lock()
	defer p.mu.Unlock()
	x := p.all[id]
	now := time.Now()
	x.Status, x.Finished = statusFinished, wire.OptionalTime(now)
	x.Samples, x.Text, p.files[id] = r.Samples, r.Text, r.Speedscope
	if err != nil {
		public, _ := cfcerr.Public(err)
		x.Status, x.Error = statusFailed, &public.Message
	}
	p.ends[id] = now
	return *x
}

// of is a profile of a worker.
func (p *profiles) of(worker, id string) (x catalog.Profile, ok bool, err error) {
	p.mu.Lock()
	p.forget(keptProfiles)
	kept, file := p.all[id], p.files[id]
	if ok = kept != nil && kept.WorkerID == worker; ok {
		x = *kept
	}
	p.mu.Unlock()
	if ok && len(file) > 0 {
		err = json.Unmarshal(file, &x.Speedscope)
	}
	return x, ok, err
}

// busy reports whether a profile of the worker is being made.
func (p *profiles) busy(worker string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, x := range p.all {
		if x.WorkerID == worker && x.Status == statusRunning {
			return true
		}
	}
	return false
}

const statusRunning, statusFinished, statusFailed = "running", "finished", "failed"

func (o *Ops) bindProfiles() {
	t := o.table
	catalog.Bind(t, catalog.WorkerGetProfilers, func(ctx context.Context, _ catalog.Caller, in catalog.Workers) ([]catalog.Profiler, error) {
		if err := o.needWorker(ctx, string(in.Worker), catalog.WorkerGetPythonpath.Forward, ""); err != nil {
			return nil, err
		}
		version, err := o.cfg.Sampler.Version(ctx)
		if cfcerr.KindOf(err) == cfcerr.Unavailable {
			return []catalog.Profiler{}, nil
		}
		state := "inactive"
		if o.profiles.busy(string(in.Worker)) {
			state = statusRunning
		}
		return []catalog.Profiler{{ID: profile.Name, State: state, Version: version}}, err
	})
	catalog.Bind(t, catalog.WorkerStartProfiler, o.startProfiler)
	catalog.Bind(t, catalog.WorkerGetProfile, func(ctx context.Context, _ catalog.Caller, in catalog.GetProfileIn) (catalog.Profile, error) {
		worker, id := string(in.Worker), string(in.Profile)
		if x, ok, err := o.profiles.of(worker, id); ok {
			return x, err
		}
		if _, err := o.cfg.Node.Worker(ctx, worker); err != nil {
			return catalog.Profile{}, err
		}
		return catalog.Profile{}, cfcerr.New(cfcerr.NoSuchObject, "cannot find profile %s: worker %s has no such profile, or it is no longer kept", id, worker).
			With("worker_id", worker).With("profile_id", id)
	})
}

func (o *Ops) startProfiler(ctx context.Context, caller catalog.Caller, in catalog.StartProfilerIn) (catalog.ProfileStarted, error) {
	worker := string(in.Worker)
	switch {
	case in.Profiler != nil && *in.Profiler != profile.Name:
		return catalog.ProfileStarted{}, cfcerr.Argument("profiler", profile.Name+", or null")
	case !(in.Runtime >= 1 && in.Runtime <= mostRuntime):
		return catalog.ProfileStarted{}, cfcerr.Argument("runtime", "seconds, 1 to "+strconv.Itoa(mostRuntime))
	}
	if err := o.needWorker(ctx, worker, catalog.WorkerGetPythonpath.Forward, ""); err != nil {
		return catalog.ProfileStarted{}, err
	}
	if _, err := o.cfg.Sampler.Version(ctx); err != nil {
		return catalog.ProfileStarted{}, err
	}
	pid, err := o.cfg.Node.PID(ctx, worker)
	if err != nil {
		return catalog.ProfileStarted{}, err
	}
	x := catalog.Profile{ID: madeUp("p_"), WorkerID: worker, Profiler: profile.Name, Status: statusRunning, Runtime: in.Runtime, Started: wire.Time(time.Now())}
	if err := o.profiles.add(x); err != nil {
		return catalog.ProfileStarted{}, err
	}
	o.inv.tellProfile(catalog.OnProfileStarted, x, caller.AuthID)
	o.profiles.jobs <- func(ctx context.Context) { // there is room: no more are running than it holds
		r, err := o.cfg.Sampler.Sample(ctx, pid, time.Duration(in.Runtime*float64(time.Second)))
		o.inv.tellProfile(catalog.OnProfileFinished, o.profiles.finish(x.ID, r, err), caller.AuthID)
	}
	return catalog.ProfileStarted{ID: x.ID, WorkerID: worker, Profiler: x.Profiler, Runtime: x.Runtime, Started: x.Started, Who: caller.AuthID}, nil
}

func (v *Inventory) tellProfile(e *catalog.Event, x catalog.Profile, by string) {
	d := catalog.Dict{"profiler": x.Profiler, "runtime": x.Runtime, "status": x.Status, "by": by}
	if x.Error != nil {
		d["error"] = *x.Error
	}
	v.publish(e, d, x.WorkerID, x.ID)
}
