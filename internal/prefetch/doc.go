// Package prefetch asks a processor for memory that is read or written soon, and waits for nothing. An address need not
// be of anything, and is no reference to what is there. It is for the few places where a profile shows that the
// collector waits for memory; the compiler has nothing of the kind.
package prefetch
