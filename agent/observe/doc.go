// Package observe holds what is watched as it happens: the output of a
// container, of a command within it, of a worker, the messages of a trace.
//
// WAMP has no credit, so nothing of that is pushed: who watches opens a stream
// and pulls from it with a cursor, at his own pace.
//
//	open (…)                       → stream
//	read (stream, from, max, wait) → records, next, end
//	close(stream)
//
// A Pipe keeps the records of one stream from the first that the reader has not
// asked beyond. Reading from number n says that all before n have arrived: a
// read whose answer was lost is just made again. When the pipe is full, whoever
// fills it waits, and with it the program that writes; what could not be kept
// all the same is a gap, which stands among the records where it is.
//
// Streams knows whose a stream is: the session's that opened it. Another
// session of the same user and realm takes it over once that session has been
// cut off, or has not asked for Handover; to everybody else it does not exist.
// A stream that nobody has asked for Idle ends. How many there are in all and of
// one user is bounded, and so is the memory of each: together they bound the
// memory of all, whatever readers do.
//
// A Ring is for what is seen whether or not somebody watches, such as a worker's
// log: it keeps the newest records, the oldest make room, nobody waits to fill
// it, and any number of readers read the same.
package observe
