package data

// hugePage is the size of a huge page in bytes; where it is another one, less is gained.
const hugePage = 2 << 20

// newArray returns n zeros that are made to be written to once, from one end to the other. The
// system hands out memory at the first touch of each page, usually of 4 KiB, which takes longer
// than to read a file into it: it is asked for huge pages, of which 512 times fewer are touched.
func newArray(n int) []byte {
	a := make([]byte, n)
	adviseHugePages(a)
	return a
}
