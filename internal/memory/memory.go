// Package memory makes large arrays, and tells how much memory the machine has.
package memory

// hugePage is the size of a huge page in bytes. On systems with another size the gain is smaller.
const hugePage = 2 << 20

// Zeros returns n zeros, best for writing once from one end to the other. The system hands out
// memory at the first touch of each page, usually of 4 KiB. That takes longer than reading a file
// into the page. So Zeros asks for huge pages, of which 512 times fewer are touched.
func Zeros(n int) []byte {
	a := make([]byte, n)
	adviseHugePages(a)
	return a
}
