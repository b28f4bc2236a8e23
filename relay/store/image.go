package store

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"hash/fnv"
	"io"
)

// An image is a bbolt file read into memory, one state of it. Everything here
// works on bytes and bounds: no content of the file can make it panic.
//
// Format 2 of bbolt, in the machine's byte order: pages of equal size; pages 0
// and 1 are metas, of which the valid one with the higher transaction counts.
// A page begins with id u64, flags u16, count u16, overflow u32 (pages that
// follow and belong to it). Branch elements are pos u32, ksize u32, page u64;
// leaf elements flags u32, pos u32, ksize u32, vsize u32; pos counts from the
// element. A leaf element with flag 1 is a bucket: root u64, sequence u64, and
// where root is 0 a page inline. The free list is a page of page ids.
type image struct {
	data []byte // the pages below the high water mark
	meta meta
}

type meta struct {
	pageSize             int64
	root, free, high, tx uint64
}

const (
	pageHead                                        = 16
	elementSize                                     = 16
	branchPage, leafPage, metaPage, freePage        = 1, 2, 4, 16
	boltMagic, boltVersion                          = 0xED0CDAED, 2
	noFreeList                               uint64 = 1<<64 - 1
	maxStoreSize                                    = 8 << 30
)

var order = binary.NativeEndian

var errNotStore = errors.New("it is not a store of a relay, or its head is damaged")

// readMeta reads a meta page.
func readMeta(page []byte) (meta, bool) {
	if len(page) < pageHead+64 {
		return meta{}, false
	}
	m := page[pageHead:]
	h := fnv.New64a()
	h.Write(m[:56])
	if order.Uint32(m) != boltMagic || order.Uint32(m[4:]) != boltVersion || order.Uint64(m[56:]) != h.Sum64() {
		return meta{}, false
	}
	out := meta{int64(order.Uint32(m[8:])), order.Uint64(m[16:]), order.Uint64(m[32:]), order.Uint64(m[40:]), order.Uint64(m[48:])}
	size := out.pageSize
	return out, size >= 512 && size <= 1<<24 && size&(size-1) == 0 && out.high >= 2 && out.high <= maxStoreSize/uint64(size)
}

// newestMeta is the meta that counts. One of the two may be half written: that
// is how a crash during a commit looks.
func newestMeta(r io.ReaderAt) (meta, error) {
	var best meta
	found := false
	try := func(at int64) {
		buf := make([]byte, pageHead+64)
		if n, err := r.ReadAt(buf, at); n < len(buf) || err != nil && !errors.Is(err, io.EOF) {
			return
		}
		if m, ok := readMeta(buf); ok && (at == 0 || at == m.pageSize) && (!found || m.tx > best.tx) {
			best, found = m, true
		}
	}
	try(0)
	for at := int64(512); at <= 1<<24; at *= 2 {
		try(at)
	}
	if !found {
		return meta{}, errNotStore
	}
	return best, nil
}

// readImage reads the state that the newest meta names.
func readImage(r io.ReaderAt, size int64) (image, error) {
	m, err := newestMeta(r)
	if err != nil {
		return image{}, err
	}
	want := int64(m.high) * m.pageSize
	if size < want {
		return image{}, fmt.Errorf("it is truncated: %d bytes, at least %d expected", size, want)
	}
	data := make([]byte, want)
	if _, err := r.ReadAt(data, 0); err != nil && !errors.Is(err, io.EOF) {
		return image{}, err
	}
	return image{data, m}, nil
}

// each checks the structure in full and visits every record.
func (i image) each(visit func(bucket, key string, value []byte) error) error {
	w := walker{image: i, used: make([]bool, i.meta.high), visit: visit}
	w.used[0], w.used[1] = true, true
	free, err := w.freePages()
	if err != nil {
		return err
	}
	if err := w.tree(i.meta.root, nil, "", 0); err != nil {
		return err
	}
	for id, used := range w.used {
		if used == free[uint64(id)] {
			return damaged("page %d is used and free, or neither", id)
		}
	}
	return nil
}

type walker struct {
	image
	used  []bool
	visit func(bucket, key string, value []byte) error
}

func damaged(format string, args ...any) error {
	return fmt.Errorf("it is damaged: "+format, args...)
}

// page is a page with those that overflow from it, each met only once.
func (w *walker) page(id uint64) ([]byte, error) {
	if id < 2 || id >= w.meta.high {
		return nil, damaged("page %d does not exist", id)
	}
	at := int64(id) * w.meta.pageSize
	head := w.data[at:]
	over := uint64(order.Uint32(head[12:]))
	if order.Uint64(head) != id || id+over >= w.meta.high {
		return nil, damaged("page %d has a wrong head", id)
	}
	for p := id; p <= id+over; p++ {
		if w.used[p] {
			return nil, damaged("page %d is used twice", p)
		}
		w.used[p] = true
	}
	return w.data[at : at+int64(over+1)*w.meta.pageSize], nil
}

func (w *walker) freePages() (map[uint64]bool, error) {
	free := map[uint64]bool{}
	if w.meta.free == noFreeList {
		return nil, damaged("there is no free list")
	}
	page, err := w.page(w.meta.free)
	if err != nil {
		return nil, err
	}
	if order.Uint16(page[8:]) != freePage {
		return nil, damaged("page %d is not the free list", w.meta.free)
	}
	ids, count := page[pageHead:], uint64(order.Uint16(page[10:]))
	if count == 0xFFFF {
		count, ids = order.Uint64(ids), ids[8:]
	}
	if count > uint64(len(ids)/8) {
		return nil, damaged("the free list is longer than its page")
	}
	for n := range count {
		id := order.Uint64(ids[8*n:])
		if id < 2 || id >= w.meta.high || free[id] {
			return nil, damaged("the free list names page %d", id)
		}
		free[id] = true
	}
	return free, nil
}

// tree walks a page and what is below it; last is the greatest key before it.
func (w *walker) tree(id uint64, last []byte, bucket string, depth int) error {
	page, err := w.page(id)
	if err != nil {
		return err
	}
	_, err = w.elements(page, last, bucket, depth)
	return err
}

const maxDepth = 32

// elements walks the elements of a page and returns the greatest key in them.
func (w *walker) elements(page, last []byte, bucket string, depth int) ([]byte, error) {
	flags, count := order.Uint16(page[8:]), int(order.Uint16(page[10:]))
	if flags != branchPage && flags != leafPage || depth > maxDepth || pageHead+count*elementSize > len(page) {
		return nil, damaged("a page of %q has a wrong head", bucket)
	}
	for n := range count {
		at := pageHead + n*elementSize
		e := page[at : at+elementSize]
		pos, ksize, vsize := order.Uint32(e), order.Uint32(e[4:]), uint32(0)
		if flags == leafPage {
			pos, ksize, vsize = order.Uint32(e[4:]), order.Uint32(e[8:]), order.Uint32(e[12:])
		}
		end := uint64(at) + uint64(pos) + uint64(ksize) + uint64(vsize)
		if ksize == 0 || end > uint64(len(page)) {
			return nil, damaged("an element of %q lies outside of its page", bucket)
		}
		from := at + int(pos)
		key, value := page[from:from+int(ksize)], page[from+int(ksize):end]
		if c := bytes.Compare(last, key); c > 0 || c == 0 && n > 0 {
			return nil, damaged("the keys of %q are not in order", bucket)
		}
		last = key
		if flags == branchPage {
			below, err := w.page(order.Uint64(e[8:]))
			if err != nil {
				return nil, err
			}
			if last, err = w.elements(below, key, bucket, depth+1); err != nil {
				return nil, err
			}
			continue
		}
		if err := w.leaf(order.Uint32(e), bucket, key, value, depth); err != nil {
			return nil, err
		}
	}
	return last, nil
}

// leaf visits a record, or walks the bucket that the element is. Buckets are
// one level deep in a store.
func (w *walker) leaf(flags uint32, bucket string, key, value []byte, depth int) error {
	switch {
	case flags == 0 && bucket != "":
		return w.visit(bucket, string(key), value)
	case flags != 1 || bucket != "":
		return damaged("%q of %q is neither a record nor a bucket of a store", key, bucket)
	case len(value) < 16:
		return damaged("bucket %q is too short", key)
	}
	if root := order.Uint64(value); root != 0 {
		return w.tree(root, nil, string(key), depth+1)
	}
	if len(value) < 16+pageHead || order.Uint16(value[16+8:]) != leafPage {
		return damaged("bucket %q has no page", key)
	}
	_, err := w.elements(value[16:], nil, string(key), depth+1)
	return err
}

// bytes is a bbolt file that holds this state and nothing else: both metas name
// it, the second as one transaction older.
func (i image) bytes() []byte {
	out := bytes.Clone(i.data)
	for n := range int64(2) {
		page := out[n*i.meta.pageSize : (n+1)*i.meta.pageSize]
		clear(page)
		order.PutUint64(page, uint64(n))
		order.PutUint16(page[8:], metaPage)
		m := page[pageHead:]
		order.PutUint32(m, boltMagic)
		order.PutUint32(m[4:], boltVersion)
		order.PutUint32(m[8:], uint32(i.meta.pageSize))
		order.PutUint64(m[16:], i.meta.root)
		order.PutUint64(m[32:], i.meta.free)
		order.PutUint64(m[40:], i.meta.high)
		order.PutUint64(m[48:], i.meta.tx-uint64(n))
		h := fnv.New64a()
		h.Write(m[:56])
		order.PutUint64(m[56:], h.Sum64())
	}
	return out
}
