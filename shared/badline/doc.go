// Package badline gives tests a network whose line is slow, late, and loses
// packets, where a kernel has no such thing to offer.
//
// The test runs in a network namespace of its own (Within, Main). There a TUN
// device carries all IPv4 packets for Far to this package, which delays or drops
// each and sends it back with source and destination exchanged: whoever connects
// to Far reaches what listens at Near, and both ends are the kernel's own TCP,
// with its windows, acknowledgements and repetitions.
package badline
