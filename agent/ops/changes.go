package ops

import (
	"fabric.center/cfc/shared/catalog"
	"fabric.center/cfc/shared/cfcerr"
)

// startingWorker tells that a worker is about to be started; what it returns
// is to be called once, when the start has ended.
func (v *Inventory) startingWorker(id, typ, by string) (finish func(Worker, error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if old := v.workers[id]; old != nil { // the node has just said that there is none
		v.drop(old, old.reason(), old.by, nil)
	}
	e := newWorkerEntry(Worker{ID: id, Type: typ})
	v.workers[id] = e
	e.told = true
	v.begin(&e.entry)
	v.save() // an agent that dies now has its next tell how it went on
	v.tellStarting(id, typ, by)
	return func(w Worker, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case err != nil:
			v.drop(e, reasonFailed, by, err)
		case !e.gone:
			w.ID, w.Type = id, typ
			v.up(e, w, by)
		}
		v.end(&e.entry)
	}
}

// stoppingWorker is the same for the end of a worker, which the node has told
// at mark to be there.
func (v *Inventory) stoppingWorker(mark uint64, w Worker, by string) (finish func(error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	id := w.ID
	if v.ended[id] > mark { // its end has been told already
		return func(error) {}
	}
	e := v.workerOf(id)
	v.appear(e, w)
	v.begin(&e.entry)
	e.by = by
	v.publish(catalog.OnWorkerStopping, details(catalog.Dict{"id": id, "type": e.Type, "pid": e.PID, "by": by}), id)
	return func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case err == nil, cfcerr.KindOf(err) == cfcerr.NoSuchWorker:
			v.drop(e, reasonStopped, by, nil)
		case !unknown(err):
			e.by = "" // still there; if it ends later, it is by itself
		}
		v.end(&e.entry)
	}
}

// unknown reports whether an operation may still be carried out after it has
// failed here.
func unknown(err error) bool {
	switch cfcerr.KindOf(err) {
	case cfcerr.Timeout, cfcerr.Canceled, cfcerr.ConnectionLost:
		return true
	}
	return false
}

// starting is the same for an object. Its worker may be unknown here for a
// moment when it was started by somebody else.
func (v *Inventory) starting(r Ref, name, by string) (finish func(born string, err error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.workerOf(r.Worker)
	if old := w.objects[r]; old != nil {
		v.dropObject(w, old, old.reason(), old.by, nil)
	}
	e := w.addObject(r, name)
	e.told = true
	v.begin(&e.entry)
	v.save()
	v.tell(r.Kind.Life.Starting, e, catalog.Dict{"by": by})
	return func(born string, err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case err != nil:
			v.dropObject(w, e, reasonFailed, by, err)
		case !e.gone:
			e.born = born
			v.objectUp(e, by)
		}
		v.end(&e.entry)
	}
}

// stopping is the same for the end of an object, which the node has told at
// mark to run.
func (v *Inventory) stopping(mark uint64, r Ref, by string) (finish func(error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.workers[r.Worker]
	if w == nil || w.objects[r] == nil || v.ended[r.key()] > mark { // its end has been told, or nothing of it
		return func(error) {}
	}
	e := w.objects[r]
	v.begin(&e.entry)
	e.by = by
	v.tell(r.Kind.Life.Stopping, e, catalog.Dict{"by": by})
	return func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		switch {
		case err == nil, cfcerr.KindOf(err) == cfcerr.NoSuchObject:
			v.dropObject(w, e, reasonStopped, by, nil)
		case !unknown(err):
			e.by = ""
		}
		v.end(&e.entry)
	}
}

// found tells of objects that came with one that an operation has started.
func (v *Inventory) found(mark uint64, worker string, all []Object, by string) {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.workerOf(worker)
	for _, o := range all {
		if r := o.ref(worker); w.objects[r] == nil && v.ended[r.key()] <= mark {
			v.appearObject(w, r, o.Name, by)
		}
	}
	v.save()
}

// knows reports whether everything that the object belongs to has been told,
// and itself, if that is asked.
func (v *Inventory) knows(r Ref, itself bool) bool {
	v.mu.Lock()
	defer v.mu.Unlock()
	w := v.workers[r.Worker]
	told := func(r Ref) bool { return w.objects[r] != nil && w.objects[r].up }
	return w != nil && w.up && (!itself || told(r)) &&
		(r.Kind.Parent == nil || told(Ref{Kind: r.Kind.Parent, Worker: r.Worker, ID: r.Parent}))
}

// met tells, if that has not been done, of a worker and objects in it that an
// operation has come upon: what is done to them is told after their start.
func (v *Inventory) met(mark uint64, w Worker) {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.ended[w.ID] > mark {
		return
	}
	e := v.workerOf(w.ID)
	v.appear(e, ready(w))
	for _, o := range w.Objects {
		switch r := o.ref(w.ID); {
		case v.ended[r.key()] > mark:
		case e.objects[r] == nil:
			v.appearObject(e, r, o.Name, "").born = o.Born
		case !e.objects[r].mine(mark):
			v.stays(e, e.objects[r], o, mark)
		}
	}
	v.save()
}

// workerOf is the entry of a worker that the node has. One that somebody else
// started a moment ago gets its entry here; what is seen next fills it in.
func (v *Inventory) workerOf(id string) *workerEntry {
	if v.workers[id] == nil {
		v.workers[id] = newWorkerEntry(Worker{ID: id})
	}
	return v.workers[id]
}

// shuttingDown is the same for the node: what ends meanwhile was asked to.
func (v *Inventory) shuttingDown(by string) (finish func(error)) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.down = by
	v.publish(catalog.NodeLife.Stopping, details(catalog.Dict{"by": by}))
	return func(err error) {
		v.mu.Lock()
		defer v.mu.Unlock()
		if err == nil {
			v.allGone(reasonDown, by)
		}
		v.down = ""
	}
}
