package atomicfile

// SyncDir does nothing: Windows has no call for it, and NTFS journals its folders.
func SyncDir(string) error { return nil }
